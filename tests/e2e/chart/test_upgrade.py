"""charts/penstock: what install, upgrade and uninstall leave."""

import base64
import contextlib
import json
import shutil
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster import Kubectl
from tests.e2e.chart.charts import CHART, PREVIOUS, ROOT, Helm, Object
from tests.e2e.chart.releases import NOT_RUNNING, namespace_of, release
from tests.e2e.chart.rights import account, may
from tests.e2e.chart.values import DEMO, EXISTING_SECRET, KAFKA, POLICIES, VALUES, at, everything
from tests.streams import laid_over
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("chart-upgrade")]


# From the previous version


def previous_values() -> dict[str, Any]:
    """All values that the previous chart had, each with another value than its default."""
    with tarfile.open(PREVIOUS) as archive:
        file = archive.extractfile("penstock/values.yaml")
        assert file is not None
        defaults = yaml.safe_load(file)

    def had(path: str) -> bool:
        here = defaults
        for name in path.split("."):
            if not isinstance(here, dict) or name not in here:
                return False
            here = here[name]
        return True

    apart = {
        "crd.install",
        "operator.clusterWide",
        "webhook.enabled",
        "image.registry",
        "operator.namespaces",
    }
    values: dict[str, Any] = EXISTING_SECRET
    for path, (value, _) in VALUES.items():
        if had(path) and path not in apart | {"webhook.certificates", "webhook.certManager.issuerRef"}:
            values = laid_over(values, at(path, value))
    return values


def look(kubectl: Kubectl, name: str) -> dict[str, Any]:
    """What an upgrade must not change without a reason: the operator's pod, its rights, the webhook."""
    found: dict[str, Any] = {}
    cluster_name = f"{name}.{kubectl.namespace}"
    for what in (
        f"deployment/{name}-operator",
        f"service/{name}-operator",
        f"service/{name}-webhook",
        f"role/{cluster_name}-operator",
        f"clusterrole/{cluster_name}-operator",
        f"mutatingwebhookconfiguration/{cluster_name}-webhook",
    ):
        body = kubectl("get", what, "-o", "json").object
        found[what] = {key: body.get(key) for key in ("spec", "rules", "webhooks")}
        found[what]["generation"] = body["metadata"].get("generation")
    secret = kubectl("get", f"secret/{name}-webhook", "-o", "json")
    found["certificate"] = secret.object["data"] if secret.ok else None
    return found


PREVIOUSLY: dict[str, tuple[dict[str, Any], str]] = {
    "default values": ({}, "penstock"),
    "every value": (previous_values(), "elsewhere"),
}


@pytest.fixture(params=PREVIOUSLY)
def previously(any_helm: Helm, lab: Kubectl, request: pytest.FixtureRequest) -> Iterator[tuple[Helm, str]]:
    """A release of the previous chart, and how its names begin."""
    values, name = PREVIOUSLY[request.param]
    with release(any_helm, lab, "penstock", values, chart=PREVIOUS) as here:
        yield here, name


def test_an_upgrade_from_the_previous_version_restarts_nothing_and_keeps_the_certificate(previously, lab):
    here, name = previously
    before = look(lab, name)
    given = here("get", "values", "penstock", "--output", "json")
    here("upgrade", "penstock", str(CHART), "--reset-then-reuse-values")
    assert look(lab, name) == before
    assert here("get", "values", "penstock", "--output", "json") == given
    assert not lab("get", f"deployment/{name}-registry").ok, "no Kafka is known"
    assert lab("get", "configmap", f"{name}-dashboard-overview").ok


def test_an_upgrade_that_takes_the_old_charts_values_says_what_to_do_instead(previously, lab):
    here, name = previously
    before = look(lab, name)
    said = here.refused("upgrade", "penstock", str(CHART), "--reuse-values")
    assert "upgrade with --reset-then-reuse-values" in said
    assert "nil pointer" not in said
    assert look(lab, name) == before
    assert [one["revision"] for one in json.loads(here("history", "penstock", "--output", "json"))] == [1]


def test_an_upgrade_can_bring_the_registry_and_a_downgrade_takes_it_away_again(previously, lab):
    here, name = previously
    before = look(lab, name)
    more = laid_over(POLICIES, {"registry": {"kafka": KAFKA}})
    here("upgrade", "penstock", str(CHART), "--reset-then-reuse-values", values=more)
    assert look(lab, name) == before
    assert lab("get", f"deployment/{name}-registry").ok
    here("rollback", "penstock", "1")
    assert look(lab, name) == before
    assert not lab("get", f"deployment/{name}-registry").ok
    assert lab("get", f"pvc/{name}-registry").ok, "what the registry knew stays"
    assert lab("delete", f"pvc/{name}-registry", "--wait=false").ok


# The registry


def registry_of(kubectl: Kubectl) -> Object:
    return kubectl("get", "deployment/penstock-registry", "-o", "json").object


def token_of(kubectl: Kubectl) -> str:
    data = kubectl("get", "secret/penstock-registry", "-o", "json").object["data"]
    return base64.b64decode(data["token"]).decode()


def test_upgrades_keep_the_token_and_restart_the_registry_only_for_another_one(helm, cluster):
    with namespace_of(cluster, "token") as own:
        values = {"registry": {"kafka": KAFKA}}
        with release(helm, own, "penstock", values) as here:
            token, generation = token_of(own), registry_of(own)["metadata"]["generation"]
            assert len(token) == 40
            here(
                "upgrade",
                "penstock",
                str(CHART),
                "--reuse-values",
                values={"operator": {"logLevel": "debug"}},
            )
            assert token_of(own) == token
            assert registry_of(own)["metadata"]["generation"] == generation

            assert own("delete", "secret/penstock-registry").ok
            here("upgrade", "penstock", str(CHART), "--reuse-values")
            assert token_of(own) != token
            assert registry_of(own)["metadata"]["generation"] == generation + 1

            values = {"registry": {"kafka": {"bootstrapServers": "elsewhere:9092"}}}
            here("upgrade", "penstock", str(CHART), "--reuse-values", values=values)
            assert registry_of(own)["metadata"]["generation"] == generation + 2


def test_what_the_registry_knows_stays_after_an_uninstall_and_is_taken_up_again(helm, cluster):
    with namespace_of(cluster, "claims") as own:

        def left() -> list[str]:
            found = own("get", "pvc,secret,service,deployment,configmap", "-o", "name").out.split()
            return [one for one in found if "penstock" in one]

        with release(helm, own, "penstock", DEMO):
            before = own("get", "pvc/penstock-registry", "-o", "json").object["metadata"]["uid"]
            assert own("get", "pvc/penstock-kafka").ok
        # A claim goes after the pods that have it.
        eventually(lambda: left() == ["persistentvolumeclaim/penstock-registry"], 60, lambda: f"{left()}")
        with release(helm, own, "penstock", DEMO):
            after = own("get", "pvc/penstock-registry", "-o", "json").object["metadata"]["uid"]
            assert after == before


def test_from_sqlite_to_postgresql_and_back_no_volume_is_lost(helm, cluster):
    with (
        namespace_of(cluster, "database") as own,
        release(helm, own, "penstock", {"registry": {"kafka": KAFKA}}) as here,
    ):
        before = own("get", "pvc/penstock-registry", "-o", "json").object["metadata"]["uid"]
        postgres = {"registry": {"database": {"existingSecret": {"name": "db"}}, "replicas": 2}}
        here("upgrade", "penstock", str(CHART), "--reuse-values", values=postgres)
        assert registry_of(own)["spec"]["strategy"]["type"] == "RollingUpdate"
        assert own("get", "pdb/penstock-registry").ok
        sqlite = {"registry": {"database": {"existingSecret": {"name": ""}}, "replicas": 1}}
        here("upgrade", "penstock", str(CHART), "--reuse-values", values=sqlite)
        assert registry_of(own)["spec"]["strategy"] == {"type": "Recreate"}
        assert own("get", "pvc/penstock-registry", "-o", "json").object["metadata"]["uid"] == before


def test_a_release_is_small_enough_for_helm_to_keep(helm, cluster):
    """Helm keeps chart and manifests in a Secret of 1 MiB at most."""
    with namespace_of(cluster, "size") as own, release(helm, own, "penstock", everything_but_images()):
        kept = own("get", "secret/sh.helm.release.v1.penstock.v1", "-o", "json").object
        assert len(base64.b64decode(kept["data"]["release"])) < 2**20 * 3 / 4


def everything_but_images() -> dict[str, Any]:
    values = laid_over(everything(), NOT_RUNNING | {"monitoring": {"podMonitor": {"enabled": False}}})
    values = laid_over(values, {"fullnameOverride": "", "operator": {"namespaces": []}})
    return laid_over(values, {"monitoring": {"prometheusRule": {"enabled": False}}})


# The CRD


@pytest.fixture
def copied(cluster: Kubectl, tmp_path: Path) -> Iterator[Path]:
    """A copy of the chart, whose CRD is called `charttests-....example`."""
    chart = tmp_path / "penstock"
    shutil.copytree(CHART, chart)
    file = chart / "files/crds/directorystreams.yaml"
    crd = yaml.safe_load(file.read_text("utf-8"))
    one = f"charttest{uuid.uuid4().hex[:8]}"
    crd["metadata"]["name"] = f"{one}s.{one}.example"
    crd["spec"]["group"] = f"{one}.example"
    crd["spec"]["names"] = {
        "kind": one.capitalize(),
        "listKind": f"{one.capitalize()}List",
        "plural": f"{one}s",
        "singular": one,
    }
    file.write_text(yaml.safe_dump(crd, sort_keys=False))
    yield chart
    cluster("delete", "crd", crd["metadata"]["name"], "--ignore-not-found")


def edited(chart: Path, change: dict[str, Any]) -> dict[str, Any]:
    """Change the chart's CRD, and give it."""
    file = chart / "files/crds/directorystreams.yaml"
    crd = laid_over(yaml.safe_load(file.read_text("utf-8")), change)
    file.write_text(yaml.safe_dump(crd, sort_keys=False))
    return crd


def test_an_upgrade_brings_a_new_crd_and_keeps_the_certificate_and_an_uninstall_the_crd(
    helm, cluster, copied
):
    values = {"image": {"registry": "registry.invalid"}, "rbac": {"aggregateToUserRoles": False}}
    with namespace_of(cluster, "upgrade") as own, contextlib.ExitStack() as at_the_end:
        there = Helm(own.kubeconfig, helm.home, own.namespace)
        # What belongs to no namespace must not stay, whatever fails below.
        at_the_end.callback(there.run, "uninstall", "penstock", "--ignore-not-found")
        crd = edited(copied, {})
        name, names = crd["metadata"]["name"], crd["spec"]["names"]
        configuration = f"mutatingwebhookconfiguration/penstock.{own.namespace}-webhook"

        def secret() -> Any:
            return own("get", "secret/penstock-webhook", "-o", "json").object["data"]

        def believed() -> str:
            return own("get", configuration, "-o", "json").object["webhooks"][0]["clientConfig"]["caBundle"]

        there("install", "penstock", str(copied), values=values)
        certificate, ca = secret(), believed()
        assert ca == certificate["ca.crt"]
        eventually(lambda: own("get", names["plural"]).ok)
        stream = yaml.safe_load((ROOT / "operator/examples/minimal.yaml").read_text("utf-8"))
        stream |= {"apiVersion": f"{crd['spec']['group']}/v1alpha1", "kind": names["kind"]}
        created = own("create", "-f", "-", given=stream)
        assert created.ok, created.err
        generation = own("get", "deployment/penstock-operator", "-o", "jsonpath={.metadata.generation}").out

        edited(copied, {"spec": {"names": {"shortNames": [f"{names['singular']}x"]}}})
        there("upgrade", "penstock", str(copied), values=values)
        now = own("get", "crd", name, "-o", "json").object
        assert now["spec"]["names"]["shortNames"] == [f"{names['singular']}x"]
        assert (secret(), believed()) == (certificate, ca)
        after = own("get", "deployment/penstock-operator", "-o", "jsonpath={.metadata.generation}").out
        assert after == generation, "nothing restarts"

        assert own("delete", "secret/penstock-webhook").ok
        there("upgrade", "penstock", str(copied), "--reuse-values")
        assert secret()["tls.crt"] != certificate["tls.crt"]
        assert believed() == secret()["ca.crt"]

        there("uninstall", "penstock")
        assert not own("get", "secret/penstock-webhook").ok
        assert not own("get", configuration).ok
        assert own("get", names["plural"], "balance").ok

        there("install", "penstock", str(copied), values=laid_over(values, {"crd": {"keep": False}}))
        assert own("get", names["plural"], "balance").ok
        there("uninstall", "penstock")
        eventually(lambda: not own("get", "crd", name).ok)


def test_a_namespace_can_end_though_its_role_goes_before_its_streams(helm, cluster, copied, lab):
    """The operator is not running: what it does, taking its finalizer off, is done with its account."""
    crd = edited(copied, {})
    group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
    rules = copied / "templates/operator/_rules.tpl"
    theirs = rules.read_text("utf-8").replace("penstock.dev", group).replace("directorystreams", plural)
    rules.write_text(theirs)
    there = Helm(lab.kubeconfig, helm.home, lab.namespace)
    who = account(lab, "ending-penstock-operator")
    with namespace_of(cluster, "ending") as own, contextlib.ExitStack() as at_the_end:
        values = {
            "image": {"registry": "registry.invalid"},
            "operator": {"namespaces": [own.namespace]},
            "webhook": {"enabled": False},
            "rbac": {"aggregateToUserRoles": False},
        }
        at_the_end.callback(there.run, "uninstall", "ending", "--ignore-not-found")
        there("install", "ending", str(copied), values=values)
        eventually(lambda: own("get", plural).ok)
        stream = yaml.safe_load((ROOT / "operator/examples/minimal.yaml").read_text("utf-8"))
        stream |= {"apiVersion": f"{group}/v1alpha1", "kind": crd["spec"]["names"]["kind"]}
        stream["metadata"]["finalizers"] = [f"{group}/topic"]
        created = own("create", "-f", "-", given=stream)
        assert created.ok, created.err

        def free(*options: str) -> Any:
            patch = '{"metadata": {"finalizers": null}}'
            return own("patch", plural, "balance", "--type=merge", "--patch", patch, *options)

        # Whatever fails below, the namespace does not stay.
        at_the_end.callback(free)
        assert cluster("delete", "namespace", own.namespace, "--wait=false").ok
        eventually(lambda: not own("get", "roles,rolebindings", "-o", "name").out)
        eventually(lambda: not may(own, who, "get", "secrets"), describe="its Role is taken away")
        left = own("get", plural, "balance", "-o", "json").object
        assert left["metadata"]["deletionTimestamp"], "it waits for its finalizer"
        done = free("--as", who)
        assert done.ok, done.err
        gone = cluster("wait", "--for=delete", f"namespace/{own.namespace}", "--timeout=60s")
        assert gone.ok, gone.err


def test_a_second_release_leaves_the_crd_to_the_first(helm, cluster, copied, lab, office):
    values = {"image": {"registry": "registry.invalid"}, "rbac": {"aggregateToUserRoles": False}}
    here, there = (Helm(one.kubeconfig, helm.home, one.namespace) for one in (lab, office))
    try:
        here("install", "penstock-first", str(copied), values=values)
        said = there.refused("install", "penstock-first", str(copied), values=values)
        assert "CustomResourceDefinition" in said
        there("install", "penstock-first", str(copied), values=laid_over(values, {"crd": {"install": False}}))
    finally:
        for one in (here, there):
            one.run("uninstall", "penstock-first")

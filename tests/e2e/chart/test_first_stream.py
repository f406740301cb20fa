"""charts/penstock on an empty cluster: what its notes say next is typed here, and works."""

import base64
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster import Kubectl
from tests.e2e.chart.charts import CHART, Helm
from tests.e2e.chart.releases import NOT_RUNNING, namespace_of, release
from tests.e2e.chart.values import DEMO, KAFKA, POLICIES, at
from tests.e2e.forwarding import forwarded
from tests.streams import laid_over
from tests.waiting import eventually

from penstock_operator.resource import DirectoryStream

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("chart-first-stream")]


def notes(said: str) -> str:
    return said.split("\nNOTES:\n")[1]


def commands(text: str) -> list[str]:
    """What the notes tell to type: each command begins its line, or is indented."""
    found = re.findall(r"^(kubectl .*<<END\n(?:.*\n)*?END)$|^   ((?:kubectl|helm) .*)$", text, re.MULTILINE)
    return [heredoc or line for heredoc, line in found]


def dry_run(helm: Helm, kubectl: Kubectl, values: dict[str, Any]) -> str:
    there = Helm(kubectl.kubeconfig, helm.home, kubectl.namespace)
    given = laid_over(NOT_RUNNING, values)
    return notes(there("install", "noted", str(CHART), "--dry-run=server", values=given))


def streams(text: str) -> list[DirectoryStream]:
    manifest = re.search(r"<<END\n(.*)^END$", text, re.DOTALL | re.MULTILINE)
    assert manifest
    body = yaml.safe_load(manifest[1])
    items = body.get("items", [body])
    return [DirectoryStream.parse(one) for one in items if one["kind"] == "DirectoryStream"]


# What they say


def test_the_notes_say_the_next_three_commands(helm, lab, office):
    values = {"operator": {"namespaces": [office.namespace]}, "registry": {"kafka": KAFKA}}
    text = dry_run(helm, lab, values)
    assert f"looks after DirectoryStreams in {office.namespace}." in text
    declare, look, page = commands(text)
    assert declare.startswith(f"kubectl --namespace {office.namespace} apply -f - <<END\n")
    (stream,) = streams(text)
    assert stream.spec.kafka.bootstrap_servers == KAFKA["bootstrapServers"]
    assert look == f"kubectl --namespace {office.namespace} describe dstream {stream.metadata.name}"
    assert page.endswith(
        f"kubectl --namespace {lab.namespace} port-forward service/noted-penstock-registry 8650"
    )


def test_the_stream_of_the_notes_can_have_a_kafka_at_an_address_of_ipv6(helm, lab):
    (stream,) = streams(dry_run(helm, lab, at("registry.kafka.bootstrapServers", "[fd00::1]:9092")))
    assert stream.spec.kafka.bootstrap_servers == "[fd00::1]:9092"


def test_where_no_kafka_is_known_the_notes_say_how_the_registry_gets_one(helm, lab):
    text = dry_run(helm, lab, {})
    (stream,) = streams(text)
    assert stream.spec.kafka.bootstrap_servers == "kafka.kafka:9092"
    _, _, upgrade = commands(text)
    assert "--reset-then-reuse-values --set registry.kafka.bootstrapServers=HOST:PORT" in upgrade
    given = upgrade.replace("HOST:PORT", "kafka:9092").split(" --set ")[1]
    assert "noted-penstock-registry" in helm("template", "noted", str(CHART), "--set", given)


def test_the_notes_speak_of_what_is_there_only(helm, lab):
    off = {"registry": {"enabled": False}, "webhook": {"enabled": False}}
    text = dry_run(helm, lab, off)
    assert len(commands(text)) == 2
    assert "registry" not in text
    assert "inject" not in text
    assert "PRODUCTION" not in text
    assert "NOT FOR PRODUCTION" in dry_run(helm, lab, DEMO)
    wide = {"operator": {"clusterWide": True}}
    assert "in all namespaces" in dry_run(helm, lab, wide)
    assert "NetworkPolicy" not in dry_run(helm, lab, POLICIES)
    assert "The pods of streams have no NetworkPolicy" in dry_run(helm, lab, laid_over(POLICIES, wide))
    named = dry_run(helm, lab, laid_over(DEMO, {"registry": {"token": {"existingSecret": {"name": "ours"}}}}))
    assert "get secret ours " in named


# That it works


@pytest.fixture(scope="module")
def demo(helm: Helm, cluster: Kubectl) -> Iterator[tuple[Kubectl, str]]:
    """The chart with its demo Kafka, in a namespace for restricted pods, and its notes."""
    with namespace_of(cluster, "first") as own:
        there = cluster("get", "crd", "directorystreams.penstock.dev").ok
        values = laid_over(DEMO, {"image": {"registry": ""}, "crd": {"install": not there}})
        with release(helm, own, "penstock", values) as here:
            yield own, notes(here("status", "penstock"))
            # `helm uninstall` takes away the operator, which has to see the end of the stream.
            own("delete", "dstream", "--all", "--timeout=60s")


def typed(command: str, kubectl: Kubectl, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody types it."""
    return subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "KUBECONFIG": kubectl.kubeconfig, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_on_an_empty_cluster_the_three_commands_carry_a_file_and_show_it(demo, tmp_path):
    own, text = demo
    declare, write, page = commands(text)
    for command in (declare, write):
        done = typed(command, own, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr + own("get", "pods,dstream,events").out

    def arrived() -> str:
        return own("exec", "deployment/first-downloader", "--", "cat", "/destination/hello.txt").out

    assert eventually(arrived, 60) == "hello\n"

    show_token, _, forward = page.partition(" && ")
    token = typed(show_token, own, tmp_path).stdout.strip()
    # At any port of this machine: another one may have 8650.
    assert forward == f"kubectl --namespace {own.namespace} port-forward service/penstock-registry 8650"
    with forwarded(own, "service/penstock-registry", 8650) as url:

        def asked(path: str, credential: str) -> tuple[int, str]:
            request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {credential}"})
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as refusal:
                with refusal:
                    return refusal.code, refusal.read().decode()

        assert asked("/", "")[0] == 200, "the page, which asks for the token"
        assert asked("/api/v1/streams", "not the token")[0] == 401

        def known() -> bool:
            _, said = asked("/api/v1/streams", token)
            return [one["topic"] for one in json.loads(said)["items"]] == ["first"]

        eventually(known, 60, lambda: asked("/api/v1/streams", token))


def test_all_that_runs_is_ready_and_restricted(demo):
    own, _ = demo
    for part in ("operator", "registry", "kafka"):
        rolled = own("rollout", "status", f"deployment/penstock-{part}", "--timeout=120s")
        assert rolled.ok, rolled.err + own("describe", "pods").out
    level = own("get", "namespace", own.namespace, "-o", "json").object["metadata"]["labels"]
    assert level["pod-security.kubernetes.io/enforce"] == "restricted"


def test_what_the_registry_knows_and_what_kafka_holds_outlives_their_pods(demo):
    own, _ = demo
    token = base64.b64decode(
        own("get", "secret/penstock-registry", "-o", "json").object["data"]["token"]
    ).decode()
    deleted = own("delete", "pods", "-l", "app.kubernetes.io/component in (registry,kafka)", "--timeout=60s")
    assert deleted.ok, deleted.err
    for part in ("registry", "kafka"):
        assert own("rollout", "status", f"deployment/penstock-{part}", "--timeout=120s").ok

    def streams_there() -> list[str]:
        with forwarded(own, "service/penstock-registry", 8650) as url:
            request = urllib.request.Request(
                f"{url}/api/v1/streams", headers={"Authorization": f"Bearer {token}"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                return [one["topic"] for one in json.load(answer)["items"]]

    assert streams_there() == ["first"]
    topics = own("exec", "deployment/penstock-kafka", "--", "ls", "/data/kafka").out
    assert "first-0" in topics

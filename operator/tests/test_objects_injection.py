"""Injection: a pod that asks for a sidecar gets one that fits it, or is refused with the reason."""

import copy

import pytest
from tests.pods import environment, patched
from tests.streams import INSTALLATION, example, laid_over

from penstock_operator.objects import CannotInject, inject, selects
from penstock_operator.objects.sidecar import WAIT_DRAINED
from penstock_operator.resource.kubernetes import LabelSelector

POD = {
    "metadata": {
        "generateName": "simulation-7d9f-",
        "labels": {"app": "simulation", "penstock.dev/inject": "simulation"},
    },
    "spec": {
        "containers": [
            {
                "name": "simulation",
                "image": "simulation:1",
                "volumeMounts": [{"name": "results", "mountPath": "/results"}],
            }
        ],
        "volumes": [{"name": "results", "emptyDir": {}}],
        "terminationGracePeriodSeconds": 30,
    },
}


def pod(*, mount=None, volume=None, container=None, **changes):
    """The pod with changes; `mount` and `volume` are those of the results."""
    body = laid_over(copy.deepcopy(POD), changes)
    first = body["spec"]["containers"][0]
    first |= container or {}
    first["volumeMounts"][0] |= mount or {}
    if volume is not None:
        body["spec"]["volumes"][0] = {"name": "results", **volume}
    return body


def injected(body, **spec):
    return patched(body, inject(body, example("sidecar", **spec), INSTALLATION).patch)


def sidecar(body, **spec):
    return injected(body, **spec)["spec"]["initContainers"][-1]


def seen(body, **spec):
    """The sidecar's environment in a pod called simulation-0."""
    return environment(sidecar(body, **spec), fields={"metadata.name": "simulation-0"}, secrets={})


def refusal(body, **spec):
    with pytest.raises(CannotInject) as refused:
        inject(body, example("sidecar", **spec), INSTALLATION)
    text = str(refused.value)
    assert "\n" not in text
    return text


CLAIM = {"persistentVolumeClaim": {"claimName": "results-0"}}


# What it gets


def test_the_sidecar_is_a_native_one_after_those_that_prepare_the_volume():
    body = pod(spec={"initContainers": [{"name": "chown", "image": "busybox"}]})
    names = [container["name"] for container in injected(body)["spec"]["initContainers"]]
    assert names == ["chown", "penstock-uploader"]
    assert sidecar(body)["restartPolicy"] == "Always"


def test_other_containers_and_volumes_stay_as_they_are():
    body = pod()
    after = injected(body)
    assert after["spec"]["containers"] == body["spec"]["containers"]
    assert after["spec"]["volumes"][0] == body["spec"]["volumes"][0]
    assert after["metadata"]["labels"] == body["metadata"]["labels"]
    assert after["metadata"]["annotations"] == {"penstock.dev/injected": "simulation"}


def test_annotations_that_are_there_stay():
    after = injected(pod(metadata={"annotations": {"a": "b"}}))
    assert after["metadata"]["annotations"] == {"a": "b", "penstock.dev/injected": "simulation"}


def test_the_first_start_waits_for_no_kafka():
    """The application starts once the sidecar lives, also while no broker answers."""
    assert sidecar(pod())["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert sidecar(pod())["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_it_watches_the_directory_wherever_its_volume_is_mounted():
    body = pod(mount={"mountPath": "/data", "subPath": "run"})
    made = sidecar(body, source={"path": "/data/results/raw"})
    assert {"name": "results", "mountPath": "/source", "subPath": "run"} in made["volumeMounts"]
    assert seen(body, source={"path": "/data/results/raw"})["PENSTOCK_DIRECTORY"] == "/source/results/raw"


def test_the_innermost_volume_counts():
    mounts = [{"name": "other", "mountPath": "/"}, {"name": "results", "mountPath": "/results/"}]
    body = pod(container={"volumeMounts": mounts})
    body["spec"]["volumes"].append({"name": "other", "emptyDir": {}})
    assert sidecar(body)["volumeMounts"][0]["name"] == "results"


def test_a_relative_mount_begins_at_the_root_as_the_kubelet_has_it():
    assert sidecar(pod(mount={"mountPath": "results/"}))["volumeMounts"][0]["name"] == "results"


def test_a_directory_of_a_like_name_is_another():
    assert "no container" in refusal(pod(mount={"mountPath": "/resul"}))


@pytest.mark.parametrize(
    ("own", "grace"), [(None, 30 + 300 + 10), (30, 30 + 300 + 10), (3600, 3600 + 300 + 10)]
)
def test_the_sidecar_has_its_time_after_the_others_have_had_theirs(own, grace):
    after = injected(pod(spec={"terminationGracePeriodSeconds": own}))
    assert after["spec"]["terminationGracePeriodSeconds"] == grace


# Whose files: two pods are two sources


@pytest.mark.parametrize(
    "volume", [{"emptyDir": {}}, {"ephemeral": {"volumeClaimTemplate": {}}}, {}], ids=str
)
def test_files_that_end_with_their_pod_are_under_its_name(volume):
    told = seen(pod(volume=volume), source={"prefix": None})
    assert told["PENSTOCK_PREFIX"] == "{pod}"
    assert told["POD_NAME"] == "simulation-0"
    assert told["PENSTOCK_SOURCE_ID"] == "lab.simulation/simulation-0"


def test_files_on_a_claim_are_known_by_it_whatever_pod_has_it():
    body = pod(volume=CLAIM, mount={"subPath": "run $1"})
    told = seen(body, source={"prefix": None, "path": "/results/raw"})
    assert "PENSTOCK_PREFIX" not in told
    assert told["PENSTOCK_SOURCE_ID"] == "lab.simulation/results-0/run%20%241/raw"


@pytest.mark.parametrize(
    "volume", [{"nfs": {"server": "s", "path": "/"}}, {"hostPath": {"path": "/x"}}], ids=str
)
def test_of_other_volumes_the_uploader_makes_an_id_and_keeps_it_there(volume):
    told = seen(pod(volume=volume), source={"prefix": None})
    assert "PENSTOCK_SOURCE_ID" not in told
    assert "PENSTOCK_PREFIX" not in told


def test_a_name_that_would_be_too_long_is_left_to_the_uploader():
    body = pod(volume={"persistentVolumeClaim": {"claimName": "c" * 250}})
    assert "PENSTOCK_SOURCE_ID" not in seen(body)


def test_what_the_stream_says_of_the_prefix_holds():
    assert seen(pod(), source={"prefix": "runs/{pod}"})["PENSTOCK_PREFIX"] == "runs/{pod}"
    assert "PENSTOCK_PREFIX" not in seen(pod(), source={"prefix": ""})


def test_ledgers_on_one_volume_have_a_directory_each():
    state = {"persistentVolumeClaim": {"claimName": "ledgers", "subPath": "$x"}}
    source, ledger, *_ = sidecar(pod(), source={"state": state})["volumeMounts"]
    assert source["readOnly"] is True
    assert ledger["subPathExpr"] == "$$x/$(POD_NAME)"
    of_claim = sidecar(pod(volume=CLAIM), source={"state": state})["volumeMounts"][1]
    assert of_claim["subPathExpr"] == "$$x/results-0"


# As whom


@pytest.mark.parametrize(
    ("of_pod", "own", "expected"),
    [
        ({}, {}, {}),
        ({"runAsUser": 1000}, {}, {}),  # the pod's holds for the sidecar too
        ({"runAsUser": 1000}, {"runAsUser": 1001, "runAsGroup": 7}, {"runAsUser": 1001, "runAsGroup": 7}),
        ({"runAsUser": 0}, {}, {"runAsUser": 65532, "runAsGroup": 65532}),
        ({}, {"runAsUser": 0, "runAsGroup": 0}, {"runAsUser": 65532, "runAsGroup": 65532}),
    ],
)
def test_it_runs_as_the_user_who_writes_the_files_but_never_as_root(of_pod, own, expected):
    body = pod(spec={"securityContext": of_pod}, container={"securityContext": own})
    security = sidecar(body)["securityContext"]
    assert {name: security[name] for name in security if name.startswith("runAs")} == {
        "runAsNonRoot": True
    } | expected
    warnings = inject(body, example("sidecar"), INSTALLATION).warnings
    assert bool([text for text in warnings if "root" in text]) == (expected.get("runAsUser") == 65532)


# Twice


def test_a_pod_that_has_its_sidecar_is_left_alone():
    once = injected(pod())
    assert inject(once, example("sidecar"), INSTALLATION).patch == ()


def test_an_ordinary_container_is_no_sidecar():
    body = pod()
    body["spec"]["containers"].append({"name": "penstock-uploader", "image": "x"})
    assert "restartPolicy: Always" in refusal(body)


# Refused


def test_a_pod_without_the_volume_is_refused():
    text = refusal(pod(mount={"mountPath": "/elsewhere"}))
    assert "/results" in text
    assert "simulation" in text
    assert "mount one there" in text


def test_containers_with_different_volumes_at_the_path_are_refused():
    body = pod()
    body["spec"]["containers"].append(
        {"name": "b", "image": "b", "volumeMounts": [{"name": "other", "mountPath": "/results"}]}
    )
    assert "simulation has results, b has other" in refusal(body)


def test_containers_that_share_the_volume_are_one():
    body = pod(mount={"readOnly": True})
    body["spec"]["containers"].append(
        {"name": "b", "image": "b", "volumeMounts": [{"name": "results", "mountPath": "/results"}]}
    )
    assert sidecar(body)["volumeMounts"][0]["name"] == "results"


def test_a_mount_that_means_something_else_in_each_container_is_refused():
    assert "subPathExpr" in refusal(pod(mount={"subPathExpr": "$(RUN)"}))


def test_a_mount_of_nothing_is_refused():
    assert "which the pod lacks" in refusal(pod(spec={"volumes": [{"name": "x", "emptyDir": {}}]}))


def test_files_cannot_be_moved_off_their_volume():
    after = {"action": "Move", "moveTo": "/sent"}
    assert "/sent" in refusal(pod(), source={"after": after})
    told = seen(pod(mount={"mountPath": "/"}), source={"after": after})
    assert told["PENSTOCK_AFTER_MOVE_TO"] == "/source/sent"


def test_a_stream_without_sidecars_gives_none():
    with pytest.raises(CannotInject, match=r"is Deployment\): set it to Sidecar"):
        inject(pod(), example("instrument"), INSTALLATION)


# Warned of


def warnings(body):
    return inject(body, example("sidecar"), INSTALLATION).warnings


def test_a_pod_that_stays_has_no_warning():
    assert warnings(pod()) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"ownerReferences": [{"kind": "Job", "name": "j"}]}},
        {"spec": {"restartPolicy": "Never"}},
        {"spec": {"restartPolicy": "OnFailure"}},
    ],
    ids=str,
)
def test_a_job_on_an_empty_dir_is_told_its_last_command(changes):
    (warning,) = warnings(pod(**changes))
    assert WAIT_DRAINED in warning
    assert [text for text in warnings(pod(**changes, volume=CLAIM)) if WAIT_DRAINED in text] == []


def owned_by(kind, **changes):
    return pod(metadata={"ownerReferences": [{"kind": kind, "name": "o"}]}, **changes)


@pytest.mark.parametrize("kind", ["ReplicaSet", "Job", "StatefulSet", None])
def test_on_a_claim_a_sidecar_waits_for_the_one_before_it_and_nobody_is_warned(kind):
    """A Deployment's new pod is ready before the old one goes; pods of one Job may share a directory."""
    body = pod(volume=CLAIM) if kind is None else owned_by(kind, volume=CLAIM)
    assert warnings(body) == ()
    variables = {one["name"]: one.get("value") for one in sidecar(body)["env"]}
    assert variables["PENSTOCK_WAIT_FOR_OTHER"] == "true"
    # Who waits is ready only if it has the same id as the one that it waits for.
    assert variables["PENSTOCK_SOURCE_ID"].endswith("/results-0")


@pytest.mark.parametrize(
    "volume", [None, {"ephemeral": {"volumeClaimTemplate": {}}}], ids=["emptyDir", "ephemeral"]
)
def test_on_a_volume_of_the_pods_own_there_is_nobody_to_wait_for(volume):
    body = owned_by("ReplicaSet", **({} if volume is None else {"volume": volume}))
    assert warnings(body) == ()
    assert "PENSTOCK_WAIT_FOR_OTHER" not in {one["name"] for one in sidecar(body)["env"]}


def test_a_pod_that_the_stream_does_not_select_is_told_so():
    (warning,) = warnings(pod(metadata={"labels": {"app": "another"}}))
    assert "podSelector" in warning


@pytest.mark.parametrize(
    ("requirement", "selected"),
    [
        ({"operator": "In", "values": ["simulation", "x"]}, True),
        ({"operator": "In", "values": ["x"]}, False),
        ({"operator": "NotIn", "values": ["x"]}, True),
        ({"operator": "NotIn", "values": ["simulation"]}, False),
        ({"key": "absent", "operator": "In", "values": ["x"]}, False),
        ({"key": "absent", "operator": "NotIn", "values": ["x"]}, True),
        ({"operator": "Exists"}, True),
        ({"key": "absent", "operator": "Exists"}, False),
        ({"operator": "DoesNotExist"}, False),
        ({"key": "absent", "operator": "DoesNotExist"}, True),
    ],
    ids=str,
)
def test_a_selector_selects_as_kubernetes_says(requirement, selected):
    selector = LabelSelector.model_validate({"matchExpressions": [{"key": "app"} | requirement]})
    assert selects(selector, POD["metadata"]["labels"]) == selected

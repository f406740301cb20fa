"""What pods tell: which lack their sidecar, and what keeps others from being ready."""

import pytest
from tests.reconciling import live
from tests.streams import example

from penstock_operator.observed import Sidecars, failing_pods, is_ours, sidecars_of

BEGAN, LATER, BEFORE = "2026-03-01T12:00:05Z", "2026-03-01T12:30:00Z", "2026-03-01T12:00:00Z"


def pod(name="a", *, sidecar="penstock-uploader", spec="initContainers", phase="Running", **seen):
    """A pod with a sidecar, and what the kubelet says of it."""
    statuses = "initContainerStatuses" if spec == "initContainers" else "containerStatuses"
    return {
        "metadata": {"name": name, "namespace": "lab", "labels": {"app": "simulation"}},
        "spec": {"containers": [{"name": "app"}], spec: [{"name": sidecar}]},
        "status": {"phase": phase, statuses: [{"name": sidecar, **seen}] if seen else []},
    }


def without(field, made):
    return {**made, "metadata": {**made["metadata"], **field}}


def failing(name="a", *, conditions=(), **container):
    """A pod of ours, with what the kubelet says of its one container."""
    status = {"name": "downloader", "image": "penstock/downloader:1", "ready": False, **container}
    return {
        "metadata": {"name": name, "namespace": "lab"},
        "status": {"conditions": [*conditions], "containerStatuses": [status]},
    }


def waiting(reason, message="", **more):
    return {"state": {"waiting": {"reason": reason, "message": message}}, **more}


ENDED = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}


# Whose


def test_a_deployment_is_ours_if_this_very_stream_controls_it():
    stream = example("minimal")
    assert is_ours(stream, live(stream))
    assert not is_ours(stream, live(stream, ours=False))


@pytest.mark.parametrize(
    "owners",
    [None, [], [{"uid": "0b0c9d5c-6f0e-4d4a-9d9b-2f9f4f6f0a11"}], [{"uid": "x", "controller": True}]],
    ids=["nothing said", "nobody", "not its controller", "another"],
)
def test_the_name_alone_makes_it_not_ours(owners):
    stream = example("minimal")
    body = live(stream)
    body["metadata"]["ownerReferences"] = owners
    assert not is_ours(stream, body)


# Sidecars


def test_each_pod_is_counted_as_what_its_sidecar_is():
    pods = [
        pod("ready", ready=True, started=True),
        pod("new", ready=False, started=False, state={"waiting": {"reason": "PodInitializing"}}),
        pod("pending", phase="Pending"),
        pod("unready", ready=False, started=True, state={"running": {"startedAt": BEGAN}}),
        pod("crashing", ready=False, started=False, **waiting("CrashLoopBackOff"), lastState=ENDED),
        pod("bare", sidecar="another"),
    ]
    assert sidecars_of(pods) == Sidecars(1, 2, ("crashing", "unready"), ("bare",))


def test_a_sidecar_pasted_among_the_containers_is_one():
    assert sidecars_of([pod(spec="containers", ready=True)]) == Sidecars(ready=1)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_lacks_nothing(phase):
    assert sidecars_of([pod(sidecar="another", phase=phase), pod(phase=phase)]) == Sidecars()


def test_neither_does_one_that_is_to_end():
    going = {"deletionTimestamp": LATER}
    pods = [without(going, pod(sidecar="another")), without(going, pod(ready=False, started=True))]
    assert sidecars_of(pods) == Sidecars()


def test_the_streams_own_pods_need_no_sidecar():
    own = without({"labels": {"penstock.dev/stream": "simulation"}}, pod(sidecar="downloader"))
    assert sidecars_of([own]) == Sidecars()


def test_pods_that_say_little_are_no_bug():
    assert sidecars_of([{"metadata": {"name": "a"}}]) == Sidecars(missing=("a",))
    assert failing_pods([{"metadata": {"name": "a"}}]) == ()


def test_the_words_do_not_depend_on_the_order_of_the_list():
    pods = [pod(name, sidecar="another") for name in "cab"] + [pod(name, started=True) for name in "fde"]
    assert sidecars_of(pods) == sidecars_of(pods[::-1]) == Sidecars(0, 0, ("d", "e", "f"), ("a", "b", "c"))
    pods = [failing(name, **waiting("ImagePullBackOff")) for name in "ba"]
    assert failing_pods(pods) == failing_pods(pods[::-1])


# Pods that fail


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            failing(
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "message": "0/3 nodes are available: 3 Insufficient memory.",
                    }
                ]
            ),
            (
                "pod a cannot be scheduled (0/3 nodes are available: 3 Insufficient memory): "
                "kubectl describe pod -n lab a"
            ),
        ),
        (
            failing(**waiting("ImagePullBackOff", 'Back-off pulling image "penstock/downloader:1"')),
            "pod a cannot get image penstock/downloader:1: kubectl describe pod -n lab a",
        ),
        (
            failing(**waiting("CreateContainerConfigError", 'secret "kafka" not found')),
            (
                'pod a cannot start: CreateContainerConfigError (secret "kafka" not found): '
                "kubectl describe pod -n lab a"
            ),
        ),
        (
            failing(**waiting("InvalidImageName")),
            "pod a cannot start: InvalidImageName: kubectl describe pod -n lab a",
        ),
        (
            failing(**waiting("RunContainerError", "no such file")),
            "pod a cannot start: RunContainerError (no such file): kubectl describe pod -n lab a",
        ),
        (
            failing(**waiting("SomethingNew")),
            "pod a cannot start: SomethingNew: kubectl describe pod -n lab a",
        ),
        (
            failing(**waiting("CrashLoopBackOff", "back-off 5m0s restarting"), lastState=ENDED),
            "pod a does not stay up (last end: OOMKilled, exit code 137): kubectl logs --previous -n lab a",
        ),
        (
            failing(
                conditions=[{"type": "Ready", "status": "False", "lastTransitionTime": LATER}],
                state={"running": {"startedAt": BEGAN}},
            ),
            "pod a runs, but is not ready any more: kubectl logs -n lab a",
        ),
    ],
    ids=["unschedulable", "image", "secret", "image name", "command", "unknown", "crash", "unready"],
)
def test_it_is_said_what_is_wrong_and_where_to_look(made, words):
    assert failing_pods([made]) == (words,)


def test_nothing_is_said_of_pods_that_start():
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": BEFORE}
    scheduled = {"type": "PodScheduled", "status": "True", "message": "fine"}
    assert (
        failing_pods(
            [
                failing(**waiting("ContainerCreating")),
                failing(**waiting("PodInitializing")),
                failing(),
                failing(conditions=[unready, scheduled], state={"running": {"startedAt": BEGAN}}),
                {"metadata": {"name": "b"}, "status": {"phase": "Pending"}},
                {
                    "metadata": {"name": "c"},
                    "status": {"conditions": [{"type": "PodScheduled", "status": "False"}]},
                },
            ]
        )
        == ()
    )


def test_nothing_is_said_of_pods_that_are_ready_again_or_go():
    recovered = failing(state={"running": {"startedAt": BEGAN}}, lastState=ENDED, ready=True)
    going = without({"deletionTimestamp": LATER}, failing(**waiting("ImagePullBackOff")))
    assert failing_pods([recovered, going]) == ()


def test_the_words_stay_while_the_kubelet_tries_and_waits_and_tries_again():
    """Else a pod that fails would change its stream's status all the time."""
    crash = [
        failing(state=ENDED),
        failing(**waiting("CrashLoopBackOff", "back-off 10s"), lastState=ENDED),
        failing(**waiting("CrashLoopBackOff", "back-off 20s"), lastState=ENDED),
        failing(state={"running": {"startedAt": BEGAN}}, lastState=ENDED),
        failing(state={"running": {"startedAt": BEGAN}}, lastState=ENDED, restartCount=7, started=True),
    ]
    assert len({failing_pods([made]) for made in crash}) == 1
    pull = [failing(**waiting(reason, reason * 2)) for reason in ("ErrImagePull", "ImagePullBackOff")]
    assert len({failing_pods([made]) for made in pull}) == 1


def test_a_reason_that_many_pods_have_is_told_of_the_first():
    pods = [failing(name, **waiting("CrashLoopBackOff"), lastState=ENDED) for name in "cab"]
    pods.append(failing("d", **waiting("ErrImagePull")))
    first, second = failing_pods(pods)
    assert first.startswith("pod a does not stay up")
    assert second.startswith("pod d cannot get image")

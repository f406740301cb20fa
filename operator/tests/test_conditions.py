"""What conditions say: the thing, the reason and the way out, to somebody who did not write the stream."""

from dataclasses import replace

import pytest
from tests.reconciling import AWAY, MISSING, RWX, SAFE, World, live, seen
from tests.scaling import reading
from tests.streams import example

from penstock_operator import conditions
from penstock_operator.kafka import Observation
from penstock_operator.observed import Sidecars
from penstock_operator.reading import FailedRead
from penstock_operator.scaling import Condition, Inputs, Policy, State, decide

NO_RIGHTS = FailedRead("NotAuthorized", "Topic 'scope' cannot be changed: allow Alter on it.")


def decided(replicas=2, found=None, **policy):
    """A decision on so many replicas."""
    inputs = Inputs(
        policy=Policy(max_replicas=replicas, **policy),
        reading=reading(partitions=replicas) if found is None else found,
        replicas=replicas,
    )
    return decide(inputs, State(), 0.0)


def said(stream, *, observation=None, decision=None, healthy=True, **observed):
    """All conditions of a stream, by type. Its Deployments run, unless something else is observed."""
    observation = observation or seen()
    deployments = {
        "downloader": live(stream, replicas=2, ready=2 if healthy else 0),
        "uploader": live(stream, "uploader"),
    }
    world = World(stream, observation, deployments)
    found = conditions.of_stream(replace(world.observed(), **observed), observation, decision or decided(2))
    assert len({one.type for one in found}) == len(found)
    return {one.type: one for one in found}


MINIMAL, MICROSCOPE, SIDECAR = example("minimal"), example("instrument"), example("sidecar")


def test_all_is_well():
    told = said(MICROSCOPE)
    assert {kind: (one.status, one.reason) for kind, one in told.items()} == {
        "Ready": (True, "AllReady"),
        "TopicReady": (True, "CanCarry"),
        "UploaderReady": (True, "AllReady"),
        "DownloaderReady": (True, "AllReady"),
        "ScalingActive": (True, "OffsetsRead"),
        "ScalingLimited": (False, "WithinLimits"),
    }
    assert told["DownloaderReady"].message == "2 of 2 ready."
    assert told["UploaderReady"].message == "1 of 1 ready."


# Ready sums up


def test_ready_names_the_cause_before_what_comes_of_it():
    told = said(MINIMAL, observation=seen(AWAY), deployments={})
    assert told["TopicReady"].status is None
    assert told["DownloaderReady"].status is False
    assert (told["Ready"].status, told["Ready"].reason) == (False, AWAY.reason)
    assert told["Ready"].message == told["TopicReady"].message


def test_what_is_not_known_is_told_when_nothing_is_wrong():
    told = said(SIDECAR, sidecars=None)
    assert (told["Ready"].status, told["Ready"].reason) == (None, "NotReadYet")


def test_a_limit_does_not_make_a_stream_unready():
    limited = replace(decided(2), limited=Condition("ScalingLimited", True, "MaxReplicas", "..."))
    assert said(MINIMAL, decision=limited)["Ready"].status is True


def test_a_group_that_does_not_settle_is_told_only_then():
    assert "GroupUnstable" not in said(MINIMAL)
    group = Condition("GroupUnstable", True, "Rebalancing", "...")
    told = said(MINIMAL, decision=replace(decided(2), group=group))
    assert told["GroupUnstable"] is group
    assert told["Ready"].status is True
    unread = replace(group, status=None)
    assert "GroupUnstable" not in said(MINIMAL, decision=replace(decided(2), group=unread))


def test_a_suspended_stream_says_how_it_goes_on():
    told = said(example("instrument", suspend=True), decision=decided(2, suspend=True))
    assert told["Ready"].reason == "Suspended"
    assert (
        told["Ready"].message == "The stream is suspended: nothing is delivered until spec.suspend is false."
    )
    assert told["UploaderReady"].reason == told["DownloaderReady"].reason == "ScaledToZero"


def test_a_stream_that_came_second_says_after_whom_and_what_to_do():
    told = said(MINIMAL, earlier="lab.first")
    assert set(told) == {"Ready", "UploaderReady", "DownloaderReady", "ScalingActive"}
    assert {(one.status, one.reason) for one in told.values()} == {(False, "GroupTaken")}
    assert told["Ready"].message == (
        "DirectoryStream lab.first reads topic balance in consumer group lab.balance already, and was there "
        "first: each would get a part of the files. Delete one of them, or make this one anew with another "
        "downloader.consumerGroup or topic."
    )


# The topic


def test_a_topic_that_could_not_be_made_says_why():
    told = said(MICROSCOPE, observation=seen(MISSING), topic_error=NO_RIGHTS)["TopicReady"]
    assert (told.status, told.reason) == (False, "NotAuthorized")
    assert told.message == f"Topic microscope does not exist, and could not be made: {NO_RIGHTS.message}"


def test_a_topic_that_is_there_carries_files_though_it_could_not_be_changed():
    told = said(MICROSCOPE, topic_error=NO_RIGHTS, topic_notes=("a is b",))["TopicReady"]
    assert (told.status, told.reason) == (True, "ConfigDiffers")
    assert told.message == f"A is b. Not as it is wanted: {NO_RIGHTS.message}"


@pytest.mark.parametrize(
    ("topic", "error"),
    [(MISSING, FailedRead("KafkaUnavailable", "x")), (AWAY, NO_RIGHTS), (MISSING, None)],
    ids=["away when it was to be made", "away now", "nobody makes it"],
)
def test_else_what_was_seen_of_a_topic_counts(topic, error):
    told = said(MICROSCOPE, observation=seen(topic), topic_error=error)["TopicReady"]
    assert (told.reason, told.message) == (topic.reason, topic.message)


def test_a_topic_that_compacts_is_refused():
    topic = seen(config=SAFE | {"cleanup.policy": "compact"})
    told = said(MINIMAL, observation=topic)
    assert told["TopicReady"].reason == told["Ready"].reason == "TopicRefused"


def test_a_reading_that_failed_holds_scaling_though_the_topic_is_known():
    decision = decided(2, AWAY)
    told = said(MINIMAL, observation=Observation(seen().topic, AWAY), decision=decision)
    assert told["TopicReady"].status is True
    assert (told["ScalingActive"].status, told["Ready"].reason) == (False, AWAY.reason)


# Deployments


def downloader(stream=MINIMAL, **observed):
    return said(stream, **observed)["DownloaderReady"]


def deployed(**more):
    return {"downloader": live(MINIMAL, replicas=2, **more)}


@pytest.mark.parametrize(
    ("observed", "reason", "message"),
    [
        (
            {"deployments": {"downloader": live(MINIMAL, ours=False)}},
            "NameTaken",
            (
                "Deployment balance-downloader was not made for this DirectoryStream, and is left alone: "
                "delete it, or make the DirectoryStream anew under another name."
            ),
        ),
        (
            {"refused": {"downloader": "forbidden: exceeded quota."}},
            "ApplyRefused",
            (
                "Deployment balance-downloader was refused: forbidden: exceeded quota. It is tried again, "
                "and at once when the stream is changed."
            ),
        ),
        (
            {"claims": {"lab-data": None}},
            "ClaimMissing",
            (
                "PersistentVolumeClaim lab-data does not exist in namespace lab: make it, or name another "
                "one in the stream."
            ),
        ),
        ({"deployments": {}}, "Starting", "Deployment balance-downloader is being made."),
        (
            {"deployments": deployed(ready=1)},
            "Starting",
            (
                "1 of 2 ready. Should it stay so: kubectl describe pods -n lab -l "
                "app.kubernetes.io/name=penstock,app.kubernetes.io/component=downloader,penstock.dev/stream=balance"
            ),
        ),
        (
            {"deployments": deployed(ready=1), "failing": {"downloader": ("pod a is bad", "pod b is worse")}},
            "PodsFailing",
            "1 of 2 ready; pod a is bad; pod b is worse",
        ),
        (
            {
                "deployments": deployed(
                    ready=0,
                    conditions=[
                        {"type": "Progressing", "status": "True", "message": "fine"},
                        {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods=2"},
                    ],
                )
            },
            "PodsFailing",
            "0 of 2 ready; pods are not made (exceeded quota: pods=2)",
        ),
    ],
    ids=["name taken", "refused", "no claim", "new", "starting", "failing", "quota"],
)
def test_a_downloader_that_is_not_ready_says_why(observed, reason, message):
    told = downloader(**observed)
    assert (told.status, told.reason, told.message) == (False, reason, message)


def test_a_deployment_whose_pods_were_not_made_once_is_well_when_they_are():
    over = [{"type": "ReplicaFailure", "status": "False", "message": "exceeded quota"}]
    assert downloader(deployments=deployed(ready=0, conditions=over)).reason == "Starting"
    still = [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]
    assert "(FailedCreate)" in downloader(deployments=deployed(ready=0, conditions=still)).message
    assert downloader(deployments=deployed(conditions=still)).status is True


def test_a_message_does_not_name_hundreds_of_pods():
    failing = tuple(f"pod {number} is bad" for number in range(99))
    assert (
        downloader(deployments=deployed(ready=0), failing={"downloader": failing}).message.count("pod ") == 5
    )


def test_each_side_has_its_own_failures():
    told = said(
        MICROSCOPE, refused={"uploader": "no"}, failing={"uploader": ("pod a is bad",)}, healthy=False
    )
    assert told["UploaderReady"].reason == "ApplyRefused"
    assert told["DownloaderReady"].reason == "Starting"


def test_a_missing_claim_is_told_of_those_who_need_it():
    state = {"persistentVolumeClaim": {"claimName": "ledgers"}}
    stream = example("instrument", source={"state": state})
    missing = {"lab-data": RWX, "microscope-share": None, "ledgers": None}
    told = said(stream, claims=missing)
    assert told["DownloaderReady"].reason == "AllReady"
    assert told["UploaderReady"].message == (
        "PersistentVolumeClaim ledgers and microscope-share do not exist in namespace lab: make them, or "
        "name others in the stream."
    )
    told = said(stream, claims={"lab-data": None, "microscope-share": RWX, "ledgers": RWX})
    assert (told["DownloaderReady"].reason, told["UploaderReady"].reason) == ("ClaimMissing", "AllReady")


def test_a_missing_claim_is_told_though_nobody_needs_it_just_now():
    none = replace(decided(2), replicas=0)
    assert downloader(claims={"lab-data": None}, decision=none).reason == "ClaimMissing"
    told = downloader(decision=none)
    assert (told.status, told.reason, told.message) == (True, "ScaledToZero", "No downloader is wanted now.")


@pytest.mark.parametrize(
    ("changed", "ready"),
    [
        ({}, 2),
        ({"observedGeneration": 0}, 0),
        ({"updatedReplicas": 1}, 1),
        ({"availableReplicas": 1}, 1),
        ({"updatedReplicas": 5, "availableReplicas": 5}, 2),
    ],
    ids=["settled", "not seen by its controller", "old pods", "not available", "more than wanted"],
)
def test_a_pod_counts_when_it_is_ready_and_as_the_deployment_says_now(changed, ready):
    assert conditions.settled(live(MINIMAL, replicas=2, **changed), 2) == ready


def test_a_deployment_that_nobody_has_looked_at_has_no_ready_pods():
    body = live(MINIMAL, replicas=2)
    assert conditions.settled({**body, "status": None}, 2) == 0
    del body["status"]
    assert conditions.settled(body, 2) == 0


# Uploaders elsewhere


@pytest.mark.parametrize(
    ("found", "status", "reason", "message"),
    [
        (None, None, "NotReadYet", "The pods with sidecars were not looked at yet."),
        (Sidecars(), True, "NoPods", "The podSelector selects no pod now."),
        (Sidecars(ready=1), True, "AllReady", "1 pod with a sidecar."),
        (Sidecars(ready=2, starting=1), True, "AllReady", "3 pods with a sidecar, 1 of them starting."),
        (Sidecars(starting=1), True, "AllReady", "1 pod with a sidecar, 1 of them starting."),
        (
            Sidecars(ready=1, not_ready=("p", "q")),
            False,
            "SidecarNotReady",
            (
                "The sidecar of pods p, q is not ready, so that files may wait there: kubectl logs -n lab p "
                "-c penstock-uploader"
            ),
        ),
        (
            Sidecars(not_ready=("p",), missing=("r",)),
            False,
            "SidecarMissing",
            (
                "No uploader sends the files of pod r: the sidecar is missing. Make them anew with label "
                "penstock.dev/inject=simulation in their template, or with the sidecar pasted into it "
                "(docs/sidecar.md)."
            ),
        ),
    ],
    ids=["not looked", "none", "one", "three", "new", "not ready", "missing"],
)
def test_a_stream_knows_how_its_sidecars_are(found, status, reason, message):
    told = said(SIDECAR, sidecars=found)["UploaderReady"]
    assert (told.status, told.reason, told.message) == (status, reason, message)


@pytest.mark.parametrize(
    ("pods", "words"),
    [("abcde", "pods a, b, c, d, e:"), ("abcdefg", "pods a, b, c, d, e and 2 more:")],
)
def test_a_message_names_a_few_pods(pods, words):
    assert words in said(SIDECAR, sidecars=Sidecars(missing=tuple(pods)))["UploaderReady"].message


def test_uploaders_elsewhere_are_not_our_concern():
    told = said(MINIMAL)["UploaderReady"]
    assert (told.status, told.reason) == (True, "External")

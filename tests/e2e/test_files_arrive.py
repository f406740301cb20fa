"""A stream from a claim to another one, as somebody meets it who has only `kubectl`."""

import re

import pytest
from tests.e2e.installed import POLL_SECONDS
from tests.pod_security import violations
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("penstock")]

FILES = {
    "small.bin": 1024,
    "empty.bin": 0,
    "medium.bin": 3_000_001,
    "large.bin": 20_000_000,
    "run-7/deep/er/frame.tif": 70_000,
}


def test_files_of_all_sizes_arrive_byte_by_byte_and_people_see_it(penstock, declare):
    stream = declare("microscope", topic={"partitions": 2})
    sent = penstock.desk.write("microscope", FILES)
    assert sent.keys() == FILES.keys()
    penstock.desk.expect("microscope", sent, timeout=120)
    stream.until("Ready", reason="AllReady")
    assert {one["type"]: one["status"] for one in stream.status["conditions"]} == {
        "Ready": "True",
        "TopicReady": "True",
        "UploaderReady": "True",
        "DownloaderReady": "True",
        "ScalingActive": "True",
        "ScalingLimited": "False",
    }

    def row() -> dict[str, str]:
        header, line = penstock.lab("get", "dstream", "microscope").out.splitlines()
        return dict(zip(header.split(), line.split(), strict=True))

    shown = eventually(lambda: row() if row()["LAG"] == "0" else None, 30, row, POLL_SECONDS)
    assert re.fullmatch(r"\d+[sm].*", shown.pop("AGE"))
    assert shown == {
        "NAME": "microscope",
        "TOPIC": "microscope",
        "PARTITIONS": "2",
        "DESIRED": "2",
        "READY": "2",
        "REASON": "AllReady",
        "LAG": "0",
    }

    described = penstock.lab("describe", "dstream", "microscope").out
    told = described.partition("\nEvents:")[2]
    assert re.search(r"Normal +TopicPrepared .*Topic microscope made", told), described
    assert re.search(r"Normal +ScaledOut .*0 -> 2 replicas", told), described
    assert "Warning" not in told, told


def test_all_pods_are_restricted_and_run_as_nobody_special(penstock, declare):
    stream = declare("restricted")
    stream.until()
    labels = penstock.cluster("get", "namespace", penstock.lab.namespace, "-o", "json").object["metadata"][
        "labels"
    ]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    running = [*stream.pods("uploader"), *stream.pods("downloader"), *penstock.operator_pods()]
    assert len(running) == 3
    for pod in running:
        assert violations(pod["spec"]) == []
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True

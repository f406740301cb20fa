"""Whatever is killed while files flow, each file arrives whole, and once, and the registry knows.

This is tests/chaos on a real cluster. Here a death is SIGKILL of all processes of a container, which the
kubelet starts again, and a pod that is deleted by force, of which there may be two for a moment.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from tests.cluster import Kubectl
from tests.e2e.flow import Flow
from tests.e2e.installed import OPERATOR, POLL_SECONDS, Desk, Penstock
from tests.e2e.pods import KILLED, alive, force_delete, kill, pods_of, ready
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("failures")]

VICTIMS = ("downloader", "uploader", "operator", "registry", "broker")
FEWEST_FILES = 300
DEATHS_AT_RANDOM = 8
WAYS: dict[str, Callable[[Kubectl, str], None]] = {"kill -9": kill, "deleted by force": force_delete}


@pytest.fixture(scope="module")
def flow(penstock: Penstock) -> Iterator[Flow]:
    """Files of 0 to 50 MB, one after the other, through four partitions to two downloaders."""
    stream = penstock.declare(
        "storm", topic={"partitions": 4}, downloader={"scaling": {"partitionsPerReplica": 2}}
    )
    flow = Flow(stream, penstock.desk)
    flow.start()
    stream.until_replicas(2)
    yield flow
    flow.remove()
    penstock.lab("delete", "dstream", stream.name, "--wait=false")


def deployment(penstock: Penstock, victim: str) -> tuple[Kubectl, str]:
    """Where a victim's pods are."""
    return {
        "downloader": (penstock.lab, "storm-downloader"),
        "uploader": (penstock.lab, "storm-uploader"),
        "operator": (penstock.system, OPERATOR),
        "registry": (penstock.system, penstock.registry.name),
        "broker": (penstock.system, penstock.kafka.name),
    }[victim]


def pod_of(penstock: Penstock, victim: str, chance: random.Random) -> tuple[Kubectl, str]:
    """Any pod of it that lives, once there is one."""
    kubectl, name = deployment(penstock, victim)
    there = eventually(
        lambda: [pod for pod in alive(pods_of(kubectl, name)) if pod["status"]["phase"] == "Running"],
        60,
        f"a pod of {name} runs",
        POLL_SECONDS,
    )
    return kubectl, chance.choice(there)["metadata"]["name"]


def until_all_are_back(penstock: Penstock) -> None:
    """Wait until all pods are there and ready, and the operator that lives now says so of the stream."""
    for victim in VICTIMS:
        kubectl, name = deployment(penstock, victim)

        def settled(kubectl: Kubectl = kubectl, name: str = name) -> bool:
            pods = pods_of(kubectl, name)
            return len(pods) == (2 if name == "storm-downloader" else 1) and all(map(ready, pods))

        eventually(settled, 90, lambda name=name: f"all pods of {name} are ready", POLL_SECONDS)


def nobody_else_has_died(penstock: Penstock) -> None:
    """What the deaths of others bring about is waited for: no process ends because of it.

    But for one whose Kafka client says that it must be replaced (servicekit.kafka.FORGOTTEN_SECONDS).
    """
    for kubectl in (penstock.system, penstock.lab):
        for pod in kubectl("get", "pods", "-o", "json").object["items"]:
            name = pod["metadata"]["name"]
            if kubectl is penstock.lab and not name.startswith("storm-"):
                continue
            for status in pod["status"].get("containerStatuses", ()):
                end = status["lastState"].get("terminated")
                if end is None or (end["exitCode"], end["reason"]) == (KILLED, "Error"):
                    continue
                said = kubectl("logs", name, "-c", status["name"], "--previous", "--tail=100").out
                assert end["exitCode"] == 1, f"{name}: {end}\n{said}"
                assert "must be replaced" in said, f"{name}: {end}\n{said}"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("victim", VICTIMS)
def test_files_arrive_whole_and_once_when_one_dies(penstock, flow, victim, way):
    WAYS[way](*pod_of(penstock, victim, random.Random(victim)))
    # Those that are written from now on meet whatever its death has left behind.
    before = flow.written()
    eventually(lambda: len(flow.written()) >= len(before) + 5, 30, "files are written", POLL_SECONDS)
    flow.everything_arrives()
    nobody_else_has_died(penstock)


def test_files_arrive_whole_and_once_when_all_die_at_random_and_the_registry_knows(penstock, flow):
    until_all_are_back(penstock)
    chance = random.Random(6)
    for victim in [*VICTIMS, *chance.choices(VICTIMS, k=DEATHS_AT_RANDOM - len(VICTIMS))]:
        WAYS[chance.choice(list(WAYS))](*pod_of(penstock, victim, chance))
    eventually(lambda: len(flow.written()) >= FEWEST_FILES, 90, "enough files are written", POLL_SECONDS)
    flow.stop()
    written = flow.everything_arrives(timeout=120)

    digests = {path: file.sha256 for path, file in written.items()}
    assert penstock.desk.sent("storm") == digests
    assert penstock.desk.delivered("storm") == digests
    until_all_are_back(penstock)
    nobody_else_has_died(penstock)
    flow.stream.until("Ready", reason="AllReady")
    eventually(lambda: flow.stream.status["lag"] == 0, 30, lambda: flow.stream.status, POLL_SECONDS)
    left = penstock.desk.do(f"ls {Desk.DELIVERIES}/storm/.penstock/downloader/partial")
    assert left == "", "nothing unfinished is left"

    penstock.registry.wait_until_ready()
    with penstock.registry.connected() as api:

        def known() -> dict[str, tuple[str, int, str]]:
            files = api.all("files", stream="storm")
            return {file["path"]: (file["state"], file["size"], file["digest"]) for file in files}

        expected = {path: ("delivered", file.size, file.blake3) for path, file in written.items()}
        eventually(
            lambda: known() == expected,
            60,
            lambda: f"the registry knows {len(known())} files of {len(expected)}",
            POLL_SECONDS,
        )
        receipts = Counter(receipt["path"] for receipt in api.all("receipts", stream="storm"))
        assert receipts == Counter(written.keys()), "each file has one receipt"

"""What becomes of files, and of all that is kept, when the chart is upgraded, removed and installed again.

An installation of the previous chart, in namespaces of its own; its Kafka is the first installation's, as
Kafka is not the chart's in earnest.
"""

import math
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from tests.cluster import Kubectl
from tests.e2e.evidence import observed
from tests.e2e.flow import Flow
from tests.e2e.installed import CRD_NAME, OPERATOR, POLL_SECONDS, ROOT, Penstock, namespaces, removed
from tests.e2e.pods import alive, pods_of
from tests.e2e.registry import Api
from tests.waiting import eventually

from chunkproto.plan import DEFAULT_CHUNK_SIZE

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("failures")]

PREVIOUS = ROOT / "tests/e2e/charts/penstock-0.1.0.tgz"
LARGE = 160_000_000
SLOW = {
    "kafka": {"properties": {"compression.type": "gzip", "compression.level": "9"}},
    "source": {"uploader": {"resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": "250m"}}}},
}
"""So that a large file is on its way for half a minute, on any machine."""
KEPT = {"sources", "deliveries", "penstock-registry"}
"""Claims of an installation."""


@pytest.fixture(scope="module")
def previous(
    crd: Kubectl,
    penstock: Penstock,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Penstock]:
    """An installation of the previous chart, which a test may upgrade."""
    home = tmp_path_factory.mktemp("helm-previous")
    with (
        namespaces(crd, home, penstock.kafka) as here,
        observed(request.config, "previous", here.lab, here.system),
    ):
        here.desk.start()
        here.release.install(here.values(), PREVIOUS)
        try:
            here.operator_ready()
            here.desk.ready()
            yield here
        finally:
            removed(here)


def values(here: Penstock, **changes: Any) -> dict[str, Any]:
    """Those of the current chart, with a registry."""
    registry = {"kafka": {"bootstrapServers": here.kafka.bootstrap_servers}}
    return here.values(registry=registry, **changes)


@pytest.fixture
def current(previous: Penstock) -> Penstock:
    """The same installation, once it is upgraded."""
    previous.release.upgrade(values(previous))
    previous.operator_ready()
    previous.registry.wait_until_ready()
    return previous


def uids(kubectl: Kubectl, deployment: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in alive(pods_of(kubectl, deployment))}


def records(here: Penstock, topic: str) -> int:
    """How many were ever written to it."""
    return sum(here.kafka.log_ends(topic).values())


def is_known_as_delivered_once(api: Api, stream: str, flow: Flow) -> None:
    """The registry has one receipt of each file, for what was written."""
    expected = {path: ("delivered", file.blake3) for path, file in flow.written().items()}

    def known() -> dict[str, tuple[str, str]]:
        files = api.all("files", stream=stream)
        return {file["path"]: (file["state"], file["digest"]) for file in files}

    eventually(lambda: known() == expected, 60, lambda: f"{known()} is {expected}", POLL_SECONDS)
    assert Counter(one["path"] for one in api.all("receipts", stream=stream)) == Counter(expected.keys())


def test_an_upgrade_replaces_all_pods_in_the_middle_of_a_file_which_goes_on(previous):
    here = previous
    stream = here.declare("moving", topic={"partitions": 2}, **SLOW)
    stream.until_replicas(2)
    stream.until()
    places = ((here.system, OPERATOR), (here.lab, "moving-uploader"), (here.lab, "moving-downloader"))
    before = {place: uids(*place) for place in places}
    flow = Flow(stream, here.desk)
    flow.start(first=LARGE)
    try:
        chunks = math.ceil(LARGE / DEFAULT_CHUNK_SIZE)
        eventually(
            lambda: records(here, "moving") > len(flow.written()) + chunks / 10, 60, "the file is on its way"
        )
        here.release.upgrade(values(here, streams={"logLevel": "debug"}))
        for place in places:
            eventually(
                lambda place=place: (now := uids(*place)) and now.isdisjoint(before[place]),
                90,
                lambda place=place: f"the pods of {place[1]} are replaced",
                POLL_SECONDS,
            )
        (uploader,) = alive(pods_of(here.lab, "moving-uploader"))
        replaced = datetime.fromisoformat(uploader["metadata"]["creationTimestamp"]).timestamp()
        flow.stop()
        written = flow.everything_arrives()
        stream.until("Ready", reason="AllReady")

        here.registry.wait_until_ready()
        with here.registry.connected() as api:
            is_known_as_delivered_once(api, "moving", flow)
            (large,) = [file for file in api.all("files", stream="moving") if file["size"] == LARGE]
            (upload,) = api.get(f"files/{large['id']}")["uploads"]
            assert upload["uploaded_at"] > replaced, "the second uploader has sent the rest of it"
        # A small file is one record; after the last chunk of a large one comes its end.
        again = records(here, "moving") - (chunks + 1 + len(written) - 1)
        assert 0 <= again < chunks / 10, f"{again} records were sent again"
    finally:
        flow.remove()


def test_uninstalling_leaves_all_data_and_a_new_install_takes_it_up(current):
    here = current
    stream = here.declare("left", topic={"partitions": 2})
    stream.until_replicas(2)
    flow = Flow(stream, here.desk)
    flow.start()
    flow.everything_arrives()
    runs = uids(here.lab, "left-uploader") | uids(here.lab, "left-downloader")

    here.release.uninstall()
    eventually(
        lambda: here.system("get", "pods", "-o", "json").object["items"] == [],
        60,
        "the release's pods have ended",
        POLL_SECONDS,
    )
    assert here.cluster("get", "crd", CRD_NAME).ok
    assert stream.body["metadata"].get("deletionTimestamp") is None
    claims = [*claims_of(here.lab), *claims_of(here.system)]
    assert {claim["metadata"]["name"] for claim in claims} == KEPT
    assert all("deletionTimestamp" not in claim["metadata"] for claim in claims)
    assert {"left", "left.receipts"} <= here.kafka.topics().keys()
    # Nobody is needed for what runs.
    eventually(lambda: len(flow.written()) > 30, 60, "files are written", POLL_SECONDS)
    flow.everything_arrives()
    assert uids(here.lab, "left-uploader") | uids(here.lab, "left-downloader") == runs

    here.release.install(values(here))
    here.operator_ready()
    # The next operator takes up a change, and what runs already goes on.
    stream.patch(topic={"partitions": 3})
    stream.until_replicas(3)
    stream.until("Ready", reason="AllReady")
    assert uids(here.lab, "left-uploader") | uids(here.lab, "left-downloader") > runs
    flow.stop()
    flow.everything_arrives()
    here.registry.wait_until_ready()
    with here.registry.connected() as api:
        is_known_as_delivered_once(api, "left", flow)
    flow.remove()


def claims_of(kubectl: Kubectl) -> list[dict[str, Any]]:
    return kubectl("get", "persistentvolumeclaims", "-o", "json").object["items"]

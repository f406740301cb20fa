"""What follows from events: the state of a file, what counts for lag, and what cannot be stored."""

import pytest
from tests.registry_tables import tables_from

from chunkproto import next_upload_id
from penstock_registry.knowledge import check
from penstock_registry.store.schema import IN_KAFKA
from servicekit.events import (
    Event,
    FileAborted,
    FileDelivered,
    FileDiscovered,
    FileFailed,
    FileRejected,
    FileSkipped,
    FileUploaded,
    FileUploading,
)
from servicekit.exceptions import NotOurEvent

T0 = 1_800_000_000.0
FILE = {"topic": "t", "source_id": "s", "path": "a.dat", "size": 10}
ANSWER = {"topic": "t", "topic_id": "T", "partition": 0, "offset": 3}
DIGEST = "ab" * 32


def upload_id(second: float) -> str:
    return str(next_upload_id(int((T0 + second) * 1000), 7, None))


FIRST, AGAIN, NEXT = upload_id(1), upload_id(20), upload_id(100)


def discovered(at: float = 0, **given: object) -> Event:
    return FileDiscovered(time=T0 + at, **{**FILE, **given})


def uploading(upload: str = FIRST, at: float = 2, **given: object) -> Event:
    return FileUploading(time=T0 + at, upload_id=upload, **{"bytes_done": 4, **FILE, **given})


def uploaded(upload: str = FIRST, at: float = 3, **given: object) -> Event:
    place = {"partition": 0, "first_offset": 1, "last_offset": 3}
    return FileUploaded(time=T0 + at, upload_id=upload, digest=DIGEST, **place, **FILE, **given)


def delivered(upload: str = FIRST, to: str = "A", at: float = 5, **given: object) -> Event:
    told = {**FILE, **ANSWER, "digest": DIGEST}
    event = FileDelivered(time=T0 + at, upload_id=upload, destination=to, **told)
    return event.model_copy(update=given)  # not checked, for what should not be


def skipped(upload: str = FIRST, to: str = "A", at: float = 5) -> Event:
    return FileSkipped(
        time=T0 + at, upload_id=upload, destination=to, reason="filtered", **{**FILE, **ANSWER}
    )


def rejected(upload: str = FIRST, to: str = "A", at: float = 5, **known: object) -> Event:
    """As a destination says it that knows of the upload nothing but its id."""
    said = {"upload_id": upload, "destination": to, "reason": "digest", **known, **ANSWER}
    return FileRejected(time=T0 + at, **said)


def aborted(upload: str = FIRST, at: float = 4) -> Event:
    return FileAborted(time=T0 + at, upload_id=upload, reason="changed", **FILE)


def failed(at: float, **given: str) -> Event:
    return FileFailed(time=T0 + at, reason="unreadable", **FILE, **given)


RESENT = uploading(AGAIN, 21, version=FIRST, to=("A",))


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ([discovered()], "discovered"),
        ([discovered(), uploading()], "uploading"),
        ([discovered(), uploaded()], "uploaded"),
        ([delivered()], "delivered"),
        ([uploading(), delivered()], "delivered"),  # that it was uploaded was lost
        ([uploaded(), skipped()], "skipped"),
        ([uploaded(), skipped(), delivered(to="B")], "delivered"),
        ([uploaded(), rejected()], "rejected"),
        ([uploaded(), delivered(to="B"), rejected()], "rejected"),
        ([uploaded(), rejected(), RESENT], "uploading"),
        ([uploading(), rejected()], "uploading"),  # B still gets the rest of it
        ([uploading(), skipped()], "uploading"),
        ([uploading(), rejected(), failed(6, upload_id=FIRST, destination="A")], "uploading"),
        ([uploading(), rejected(), uploaded(at=30)], "rejected"),
        ([uploading(), rejected(), delivered(to="B")], "rejected"),  # that it was uploaded was lost
        ([uploading(bytes_done=10), rejected()], "rejected"),  # the same
        ([uploading(), rejected(), aborted(at=6)], "rejected"),
        ([rejected(**FILE)], "rejected"),  # telemetry is not read
        ([uploaded(), rejected(), rejected(to="B"), RESENT], "uploading"),
        ([uploaded(), rejected(), rejected(to="B"), RESENT, uploaded(AGAIN, 22)], "rejected"),  # not to B
        ([uploaded(), rejected(), RESENT, delivered(AGAIN, at=25)], "delivered"),
        ([uploaded(), rejected(), RESENT, rejected(AGAIN, at=25)], "uploading"),
        ([uploaded(), rejected(), RESENT, rejected(AGAIN, at=25), uploaded(AGAIN, 26)], "rejected"),
        ([uploaded(), rejected(), uploading(NEXT, 101)], "uploading"),  # a new version
        ([uploaded(), delivered(), discovered(50)], "discovered"),
        ([uploaded(), delivered(), uploaded(NEXT, 101)], "uploaded"),  # an answer to what was there before
        ([discovered(1.5), uploaded()], "uploaded"),  # the clock was set back before the upload began
        ([discovered(1.5), uploaded(), delivered()], "delivered"),
        ([discovered(1.5), delivered()], "delivered"),
        ([discovered(1.5, size=11), uploaded(), delivered()], "discovered"),
        ([uploading(), aborted()], "aborted"),
        ([uploading(), aborted(), discovered(50)], "discovered"),
        ([failed(1)], "failed"),
        ([discovered(), failed(1), discovered(50)], "discovered"),
        ([uploaded(), delivered(to="B"), failed(30, upload_id=FIRST, destination="A")], "rejected"),
        ([uploaded(), failed(30, upload_id=FIRST, destination="A")], "rejected"),  # its answer was lost
        ([uploaded(), failed(30, upload_id=FIRST, destination="A"), delivered()], "delivered"),
        ([uploaded(NEXT, 101), failed(200, upload_id=FIRST, destination="A")], "uploaded"),  # of before
        ([uploading(), failed(30)], "failed"),
        ([uploaded(), failed(30, upload_id=FIRST, destination="A"), uploaded(NEXT, 101)], "uploaded"),
        ([uploaded(), rejected(), delivered(at=9)], "delivered"),  # the stronger word about one upload
        ([uploaded(), delivered(), rejected(at=9)], "delivered"),
    ],
)
def test_the_state_of_a_file(said: list[Event], state: str) -> None:
    for heard in (said, said[::-1], said + said):
        [file] = tables_from(heard)["files"]
        assert file[5] == state


def counts(said: list[Event]) -> dict[tuple[str, str], int]:
    return {(row[1], row[2]): row[3] for row in tables_from(said)["counts"]}


def test_lag_counts_what_kafka_has_and_a_destination_has_not_answered() -> None:
    assert counts([uploading()]) == {("", "uploading"): 1}
    assert counts([uploaded()]) == {("", "uploaded"): 1, ("", IN_KAFKA): 1}
    said = [uploaded(), delivered(to="B")]
    assert counts(said) == {("", "delivered"): 1, ("", IN_KAFKA): 1, ("B", "delivered"): 1}
    assert counts([*said, uploading(NEXT, 101)]) == {("", "uploading"): 1}, "an old answer is none"


def test_what_was_sent_again_is_the_same_version_though_telemetry_was_lost() -> None:
    said = [delivered(to="B"), rejected(), delivered(AGAIN, at=25)]
    assert counts(said)["B", "delivered"] == 1
    other = delivered(NEXT, at=105, digest="cd" * 32)
    assert ("B", "delivered") not in counts([*said, other])


def test_a_receipt_of_another_stream_is_not_of_this_upload() -> None:
    [mine] = [row for row in tables_from([uploaded(), delivered(topic="other")])["files"] if row[10]][:1]
    states = {row[5] for row in tables_from([uploaded(), delivered(topic="other")])["files"]}
    assert mine[3] == b"a.dat"
    assert "uploaded" in states


def test_a_receipt_that_is_repeated_later_and_knows_less_changes_nothing_but_the_last_time() -> None:
    first = delivered(visible_at=T0 + 5, closed_at=T0)
    [row] = tables_from([delivered(at=60), first])["receipts"]
    assert (row[4], row[10], row[11]) == (T0 + 5, T0, T0 + 5)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (delivered(upload_id="no-uuid"), "upload_id: no UUID"),
        (delivered(upload_id=""), "upload_id: no UUID"),
        (uploading().model_copy(update={"version": "x"}), "version: no UUID"),
        (delivered(digest="ab"), "digest"),
        (delivered(topic="no topic"), "topic"),
        (delivered(path="a\0b"), "path: contains a NUL"),
        (delivered(path="\ud800"), "path: no file can have this name"),
        (delivered(path="é" * 2049), "path: longer than 4096 bytes"),
        (delivered(source_id="a\0b"), "source_id: contains a NUL"),
        (delivered(source_id="\udcff"), "source_id: not Unicode"),
        (delivered(source_id="s" * 1025), "source_id: longer than 1024 bytes"),
        (delivered(size=2**53), "size: too large"),
        (delivered(size=-2), "size: negative"),
        (delivered(partition=2**31), "partition: too large"),
        (delivered(visible_at=float("nan")), "visible_at"),
        (delivered(time=1e12), "time: no time between 1970 and 2200"),
        (uploading().model_copy(update={"to": ("",)}), "to: empty"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_the_reason(event: Event, reason: str) -> None:
    with pytest.raises(NotOurEvent) as refused:
        check(event)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "event",
    [
        delivered(path="\udcff/'; DROP TABLE files; --\n<b>", source_id="größe"),
        delivered(path="d" * 4096),
        rejected(),
        FileRejected(time=T0, destination="A", reason="undecodable", **ANSWER),
    ],
)
def test_strange_names_and_answers_to_what_was_not_understood_are_taken(event: Event) -> None:
    check(event)

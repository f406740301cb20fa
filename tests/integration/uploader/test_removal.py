"""--after move and delete: a source file goes only when it is safe, and never one that was changed since."""

import os

import pytest
from tests.integration.uploader.looking import await_on_topic, drained, saying, watching
from tests.integration.uploader.test_answers import give_receipts, receipt, tell
from tests.integration.uploader.wire import uploads
from tests.stream import Stream
from tests.waiting import eventually

QUICK = {"settle_seconds": 0.1, "scan_interval_seconds": 0.5, "chunk_size": 4096}


def left(stream: Stream) -> list[str]:
    return sorted(name for name in os.listdir(stream.source) if name != ".penstock")


def test_files_are_deleted_once_they_are_acknowledged(stream: Stream):
    expected = {f"f{number}": os.urandom(5000 * number) for number in range(10)}
    for name, data in expected.items():
        (stream.source / name).write_bytes(data)
    watching(stream.uploader(after="delete", **QUICK))
    eventually(lambda: left(stream) == [])
    await_on_topic(stream, expected)


def test_files_are_moved_under_their_own_names(stream: Stream, tmp_path):
    (stream.source / "d").mkdir()
    (stream.source / "d" / "a").write_bytes(b"a")
    target = tmp_path / "done"
    watching(stream.uploader(after="move", after_move_to=target, **QUICK))
    eventually(lambda: (target / "d" / "a").exists())
    assert (target / "d" / "a").read_bytes() == b"a"
    assert not (stream.source / "d" / "a").exists()


def test_files_are_deleted_only_when_all_named_destinations_have_them(stream: Stream):
    (stream.source / "a").write_bytes(b"a" * 10_000)
    (stream.source / "b").write_bytes(b"b")
    watching(stream.uploader(after="delete", after_when="delivered", after_receipt_from="one,two", **QUICK))
    await_on_topic(stream, {"a": b"a" * 10_000, "b": b"b"})
    a, b = sorted(uploads(stream.kafka, stream.topic), key=lambda sent: sent.path)
    lie = receipt(stream, a, "two").model_copy(update={"digest": "11" * 32})
    tell(stream, receipt(stream, a, "one"), receipt(stream, a, "other"), lie)
    tell(stream, receipt(stream, b, "one"), receipt(stream, b, "two"))
    eventually(lambda: left(stream) == ["a"])
    tell(stream, receipt(stream, a, "two"))
    eventually(lambda: left(stream) == [])


def test_a_file_changed_after_it_was_sent_is_never_removed(stream: Stream):
    path = stream.source / "a"
    path.write_bytes(b"one")
    watching(stream.uploader(after="delete", after_when="delivered", after_receipt_from="there", **QUICK))
    await_on_topic(stream, {"a": b"one"})
    with path.open("ab") as writer:  # open, so that its new version is not sent yet
        writer.write(b" more")
        writer.flush()
        give_receipts(stream, "there")
        eventually(lambda: "stays" in stream.services[-1].said)
        assert path.read_bytes() == b"one more"
    await_on_topic(stream, {"a": b"one more"})
    give_receipts(stream, "there")
    eventually(lambda: left(stream) == [])


@pytest.mark.parametrize(
    "point",
    [
        "ledger.disposing.before",
        "ledger.disposing.after",
        "dispose.aside.before",
        "dispose.aside.after",
        "dispose.removed.before",
        "dispose.removed.after",
        "ledger.disposed.before",
        "ledger.disposed.after",
    ],
)
def test_killed_while_deleting_at(point: str, stream: Stream):
    expected = {f"d/f{number}": b"%d" % number for number in range(5)}
    (stream.source / "d").mkdir()
    for name, data in expected.items():
        (stream.source / name).write_bytes(data)
    crash = {"PENSTOCK_CRASH_AT": f"uploader.{point}:2"}
    if point.startswith("ledger.dispos"):
        crash = {"PENSTOCK_CRASH_AT": f"uploader.{point}:1"}
    service = stream.uploader(after="delete", environment=crash, **QUICK)
    assert service.wait() == -9, service.said
    kept = {name for name in expected if (stream.source / name).exists()}
    watching(stream.uploader(after="delete", **QUICK))
    eventually(lambda: os.listdir(stream.source / "d") == [], describe=lambda: stream.services[-1].said)
    await_on_topic(stream, expected)
    assert len(uploads(stream.kafka, stream.topic)) == 5, kept
    aside = stream.source / ".penstock" / "uploader" / "aside"
    assert not aside.exists() or os.listdir(aside) == []


def test_what_lies_aside_comes_back_when_the_ledger_is_lost(stream: Stream):
    (stream.source / "d").mkdir()
    (stream.source / "d" / "a").write_bytes(b"a")
    crash = {"PENSTOCK_CRASH_AT": "uploader.dispose.aside.after"}
    service = stream.uploader(after="delete", environment=crash, **QUICK)
    assert service.wait() == -9
    assert not (stream.source / "d" / "a").exists()
    for name in os.listdir(stream.source / ".penstock" / "uploader"):
        if name.startswith("ledger"):
            (stream.source / ".penstock" / "uploader" / name).unlink()
    service = watching(stream.uploader(**QUICK))
    saying(service, "is back at its place")
    assert (stream.source / "d" / "a").read_bytes() == b"a"
    assert drained(stream) == {"drained": True}

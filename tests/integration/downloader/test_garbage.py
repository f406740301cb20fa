"""Whatever is on the topic: it is refused with a reason and set aside, and everything else arrives."""

import json
import os
from dataclasses import replace

import msgpack
from tests.integration.downloader.sender import MTIME_NS, Sender, content, receipts, rejections
from tests.stream import Stream, files_of

from chunkproto import Abort, Chunk, Description, End, Whole
from chunkproto.native import HEADER, encode_header
from servicekit import events

CHUNK = 4096


def with_path(record, path: str) -> bytes:
    """Encode a record whose path no encoder of ours lets through."""
    fields = list(msgpack.unpackb(encode_header(record), use_list=True))
    at = next(index for index, part in enumerate(fields) if isinstance(part, list))
    fields[at][0] = os.fsencode(path)
    return msgpack.packb(fields)


def whole(sender: Sender, path: str, data: bytes = b"data") -> tuple[bytes, bytes]:
    ((record, value),) = sender.records("harmless", data)
    return with_path(record, path), value


UNSAFE = ["../../x", "/etc/penstock", "a/../../b", "nul\0", ".penstock/x", ".PENSTOCK/x", "", "a//b", "."]


def test_garbage_is_refused_and_everything_else_arrives(stream: Stream, sender: Sender):
    sender.send("first", content(100))
    # Nothing of ours.
    sender.put_raw(os.urandom(1000), [])
    sender.put_raw(None, [])
    sender.put_raw(b"{}", [("content-type", b"application/json")], key=b"other program")
    # Ours, but broken.
    broken = [
        None,
        b"",
        b"\xc1",
        os.urandom(50),
        b"\x93\x01",
        msgpack.packb({"version": 1}),
        msgpack.packb([1, 2]),
        msgpack.packb([1, 0, b"short id", 0, 0, 0]),
        msgpack.packb([1, 0, bytes(sender.new_id()), 0, -1, 1 << 63]),
        msgpack.packb([1, 0, bytes(sender.new_id()), 8, 0, 0]),
        msgpack.packb([1, 3, bytes(sender.new_id()), 0, "text", 1, 2]),
    ]
    for header in broken:
        sender.put_raw(b"value", [(HEADER, header)])
    # Of a later version, and of an unknown type.
    unknown = [msgpack.packb([2, "anything"]), msgpack.packb([1, 9, bytes(sender.new_id()), 0])]
    for header in unknown:
        sender.put_raw(b"value", [(HEADER, header)])
    for path in UNSAFE:
        header, value = whole(sender, path)
        sender.put_raw(value, [(HEADER, header)])
    sender.flush()
    sender.send("last", content(9_999))
    service = stream.downloader(until_idle=0.5)
    assert service.wait() == 0, service.said
    assert {str(p.relative_to(stream.destination)) for p in files_of(stream.destination)} == {"first", "last"}
    assert not os.path.exists("/etc/penstock")
    assert not (stream.directory / "x").exists()
    assert "Traceback" not in service.said
    for reason, count in {"foreign": 3, "malformed": len(broken), "unsupported": 2}.items():
        assert service.said.count(f"reason={reason} ") == count
    rejected = [event for event in receipts(stream) if isinstance(event, events.FileRejected)]
    assert {event.path for event in rejected} == set(UNSAFE)
    assert {event.reason for event in rejected} == {"unsafe-path"}
    kept = stream.destination / ".penstock/downloader/quarantine"
    about = json.loads((kept / f"{stream.topic}-0-1.json").read_text())
    assert (about["reason"], about["offset"]) == ("foreign", 1)
    assert (kept / f"{stream.topic}-0-1.head").stat().st_size == 1000


def test_uploads_that_contradict_themselves_are_rejected(stream: Stream, sender: Sender):
    data = content(5 * CHUNK)

    def upload(path: str, **given):
        return sender.records(path, data, **given)

    sender.put(upload("wrong-digest", digest=bytes(32)))
    sender.put(sender.records("wrong-digest-whole", b"x", digest=bytes(32)))
    missing = upload("missing-chunk")
    sender.put([*missing[:2], *missing[3:]])
    sender.put(upload("no-first")[1:])
    sender.put(upload("only-the-end")[5:])
    swapped = upload("wrong-offset")
    sender.put([swapped[0], (replace(swapped[1][0], offset=CHUNK + 1), swapped[1][1]), *swapped[2:]])
    short = upload("wrong-length")
    sender.put([short[0], (short[1][0], b"too short"), *short[2:]])
    beyond = upload("out-of-range")
    sender.put([*beyond[:5], (replace(beyond[4][0], index=5, offset=5 * CHUNK), data[:CHUNK]), beyond[5]])
    wrong = upload("wrong-size")
    end = wrong[5][0]
    assert isinstance(end, End)
    longer = Description("wrong-size", 6 * CHUNK, CHUNK, MTIME_NS, 0o640, "sender")
    sender.put([*wrong[:5], (End(end.upload_id, longer, end.digest, 6, end.closed_ns), b"")])
    sender.put([(Abort(sender.new_id(), "never-begun", "sender", "why"), b"")])
    sender.send("good", data)
    service = stream.downloader(until_idle=0.5)
    assert service.wait() == 0, service.said
    assert {path.name for path in files_of(stream.destination)} == {"good"}
    assert rejections(stream) == {
        "wrong-digest": "digest",
        "wrong-digest-whole": "digest",
        "missing-chunk": "incomplete",
        "no-first": "incomplete",
        "only-the-end": "incomplete",
        "wrong-offset": "malformed",
        "wrong-length": "malformed",
        "out-of-range": "malformed",
        "wrong-size": "incomplete",
    }
    assert os.listdir(stream.destination / ".penstock/downloader/partial") == []
    kept = stream.destination / ".penstock/downloader/quarantine"
    assert any(path.suffix == ".head" and path.stat().st_size == 5 * CHUNK for path in kept.iterdir())


def test_what_stands_in_the_way_costs_only_the_file_concerned(stream: Stream, sender: Sender, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (stream.destination / "link").symlink_to(outside)
    (stream.destination / "linked-file").symlink_to(outside / "target")
    (stream.destination / "directory").mkdir()
    for path in ("link/file", "linked-file", "directory", "x" * 300, "deep/" + "y" * 256 + "/file"):
        sender.put(sender.records(path, b"data"))
        sender.put(sender.records(path, content(3 * CHUNK)))
    sender.send("a", b"a")
    sender.put(sender.records("a/b", b"b"))
    sender.send("c/d", b"d")
    sender.put(sender.records("c", b"c"))
    service = stream.downloader(until_idle=0.5)
    assert service.wait() == 0, service.said
    assert list(outside.iterdir()) == []
    found = rejections(stream)
    assert {path[:12]: reason for path, reason in found.items()} == {
        "link/file": "unsafe-path",
        "linked-file": "unsafe-path",
        "directory": "path-conflict",
        "x" * 12: "name-too-long",
        "deep/yyyyyyy": "name-too-long",
        "a/b": "path-conflict",
        "c": "path-conflict",
    }
    assert (stream.destination / "a").read_bytes() == b"a"
    assert (stream.destination / "c/d").read_bytes() == b"d"


def test_files_that_are_too_large_are_refused_at_their_first_record(stream: Stream, sender: Sender):
    sender.put(sender.records("large", content(3 * CHUNK))[:1])
    sender.put(sender.records("whole", content(3 * CHUNK), chunk_size=1 << 20))
    sender.send("small", content(2 * CHUNK))
    assert stream.downloader(until_idle=0.3, max_file_size="8KiB").wait() == 0
    assert rejections(stream) == {"large": "too-large", "whole": "too-large"}
    assert {path.name for path in files_of(stream.destination)} == {"small"}


def test_names_that_windows_cannot_have_are_refused_when_told(stream: Stream, sender: Sender):
    for name in ("con.txt", "a:b", "trailing.", "back\\slash"):
        sender.put(sender.records(name, b"1"))
    sender.send("Fine", b"1")
    sender.put(sender.records("fine", b"2"))
    assert stream.downloader(until_idle=0.3, portable_names=True).wait() == 0
    assert set(rejections(stream).values()) == {"unportable-path"}
    assert {path.name for path in files_of(stream.destination)} == {"Fine"}


def test_the_quarantine_is_bounded_and_the_oldest_go_out(stream: Stream, sender: Sender):
    for _ in range(30):
        sender.put_raw(os.urandom(100_000), [])
    sender.flush()
    assert stream.downloader(until_idle=0.3, quarantine_bytes="200KiB").wait() == 0
    kept = list((stream.destination / ".penstock/downloader/quarantine").iterdir())
    assert sum(path.stat().st_size for path in kept) <= 200 * 1024
    assert f"{stream.topic}-0-29.head" in {path.name for path in kept}


def test_a_first_chunk_that_says_it_is_whole_is_malformed(stream: Stream, sender: Sender):
    ((record, _),) = sender.records("file", b"1234")
    assert isinstance(record, Whole)
    sender.put_raw(b"123", [(HEADER, encode_header(record))])
    sender.put_raw(b"1" * 10, [(HEADER, encode_header(Chunk(sender.new_id(), 3, 30)))])
    sender.flush()
    service = stream.downloader(until_idle=0.3)
    assert service.wait() == 0
    assert "reason=malformed" in service.said

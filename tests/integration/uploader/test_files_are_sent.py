"""Whatever is in the directory arrives on the topic, byte for byte, once per version."""

import os
from pathlib import Path

from tests.integration.uploader.looking import await_on_topic, saying, watching
from tests.integration.uploader.wire import uploads, versions
from tests.stream import Service, Stream
from tests.waiting import eventually

CHUNK = 4096


def test_files_of_every_size_arrive_byte_for_byte(stream: Stream):
    expected = {
        "empty": b"",
        "one": b"x",
        "chunk": os.urandom(CHUNK),
        "chunk-and-one": os.urandom(CHUNK + 1),
        "many": os.urandom(100 * CHUNK + 17),
    }
    for name, data in expected.items():
        (stream.source / name).write_bytes(data)
    stream.uploader(chunk_size=CHUNK)
    await_on_topic(stream, expected)


def test_a_file_that_is_written_while_watched_is_sent_when_it_is_closed(stream: Stream):
    service = watching(stream.uploader(settle_seconds=600))
    with (stream.source / "a").open("wb") as file:
        file.write(b"first ")
        file.flush()
        file.write(b"second")
    await_on_topic(stream, {"a": b"first second"})
    assert versions(stream.kafka, stream.topic) == {"a": [b"first second"]}
    assert service.stop() == 0, service.said


def test_odd_names_arrive_as_they_are(stream: Stream):
    names = [
        b"with space;semi",
        b"new\nline",
        "emoji-\N{BANANA}".encode(),
        b"not-utf8-\xff\xfe",
        b"n" * 255,
        b"/".join(b"d%d" % level for level in range(40)) + b"/deep",
        b"-dash",
        b"back\\slash",
    ]
    expected = {}
    for name in names:
        path = Path(os.fsdecode(os.path.join(os.fsencode(stream.source), name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
        expected[name.decode("utf-8", "surrogateescape")] = name
    stream.uploader(settle_seconds=0.1)
    await_on_topic(stream, expected)


def await_partly_sent(stream: Stream, path: str) -> None:
    eventually(lambda: any(s.chunks and s.path == path for s in uploads(stream.kafka, stream.topic)))


def await_log_order(service: Service, first: str, then: str) -> None:
    saying(service, then, 60)
    assert service.said.index(first) < service.said.index(then), service.said


def test_ten_thousand_small_files_arrive_once_each_in_little_memory(stream: Stream):
    # The first file of a new directory may be closed before the directory is watched: it has to settle.
    service = watching(stream.uploader(settle_seconds=0.5))
    expected = {}
    for number in range(10_000):
        name, data = f"d{number % 7}/f{number}", b"%d" % number * (number % 50)
        path = stream.source / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        expected[name] = data
    await_on_topic(stream, expected, 60)
    assert len(uploads(stream.kafka, stream.topic)) == 10_000
    assert service.resident_bytes() < 150e6


def test_a_large_file_does_not_hold_up_a_small_one_nor_fill_the_memory(stream: Stream):
    with (stream.source / "large").open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    service = watching(stream.uploader(settle_seconds=0.1, rate_limit=30 * 1024 * 1024))
    await_partly_sent(stream, "large")
    (stream.source / "small").write_bytes(b"small")
    await_log_order(service, "sent small", "sent large")
    assert service.resident_bytes() < 150e6


def test_symbolic_links_are_not_followed_and_hard_links_are_files(stream: Stream, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (stream.source / "a").write_bytes(b"a")
    os.link(stream.source / "a", stream.source / "hard")
    (stream.source / "soft").symlink_to(outside / "secret")
    (stream.source / "dir").symlink_to(outside)
    watching(stream.uploader(settle_seconds=0.1, scan_interval_seconds=0.2))
    await_on_topic(stream, {"a": b"a", "hard": b"a"})


def test_include_and_exclude_choose_files_and_the_prefix_names_them(stream: Stream):
    for name in ("a.raw", "b.txt", "tmp/c.raw", "d/e.raw"):
        (stream.source / name).parent.mkdir(exist_ok=True)
        (stream.source / name).write_bytes(name.encode())
    stream.uploader(settle_seconds=0.1, include="*.raw", exclude="tmp", prefix="lab/x")
    await_on_topic(stream, {"lab/x/a.raw": b"a.raw", "lab/x/d/e.raw": b"d/e.raw"})


def test_what_is_there_before_is_sent_only_once_it_changes_if_so_asked(stream: Stream):
    (stream.source / "old").write_bytes(b"old")
    (stream.source / "older").write_bytes(b"older")
    watching(stream.uploader(settle_seconds=0.1, existing=False, scan_interval_seconds=0.2))
    (stream.source / "new").write_bytes(b"new")
    await_on_topic(stream, {"new": b"new"})
    (stream.source / "old").write_bytes(b"changed")
    await_on_topic(stream, {"new": b"new", "old": b"changed"})


def test_with_its_state_elsewhere_the_watched_directory_is_never_written_to(stream: Stream, tmp_path):
    (stream.source / "a").write_bytes(b"a")
    before = stream.source.stat().st_mtime_ns
    service = watching(stream.uploader(state_dir=tmp_path / "state", settle_seconds=0.1))
    await_on_topic(stream, {"a": b"a"})
    assert service.stop() == 0
    assert os.listdir(stream.source) == ["a"]
    assert stream.source.stat().st_mtime_ns == before
    assert not (tmp_path / "state" / "topic").exists()

"""Nothing is missed, nothing arrives mixed, the last version wins."""

import os
import threading

from blake3 import blake3
from tests.stream import Stream, Witness, files_of, snapshot
from tests.waiting import eventually


def arrived(stream: Stream) -> int:
    return sum(1 for _ in files_of(stream.destination))


def test_ten_thousand_small_files_at_once_in_bounded_memory(make_stream):
    stream = make_stream(partitions=4)
    uploader, downloader = stream.uploader(), stream.downloader()
    for directory in range(100):
        (stream.source / f"{directory}").mkdir()
        for number in range(100):
            (stream.source / f"{directory}" / f"{number}").write_bytes(
                blake3(b"%d" % number).digest(length=1024)
            )
    stream.await_delivery(timeout=120)
    assert uploader.resident_bytes() < 150e6
    assert downloader.resident_bytes() < 150e6


def test_a_file_that_is_written_for_a_while_arrives_as_it_is_in_the_end(stream: Stream):
    stream.uploader(), stream.downloader()
    pause = threading.Event()
    with (stream.source / "log").open("wb", buffering=0) as log:
        for number in range(100):
            log.write(b"line %d\n" % number)
            pause.wait(0.03)
    stream.await_delivery()


def test_a_logger_that_closes_after_each_line_makes_a_handful_of_uploads(stream: Stream):
    stream.uploader(), stream.downloader()
    pause = threading.Event()
    for number in range(300):
        with (stream.source / "log").open("ab") as log:
            log.write(b"line %d\n" % number)
        pause.wait(0.02)
    stream.await_delivery()
    assert 1 <= len(stream.kafka.records(stream.topic)) <= 6


def test_a_file_created_empty_and_filled_later(stream: Stream):
    stream.uploader(), stream.downloader()
    (stream.source / "data").touch()
    eventually(lambda: arrived(stream) == 1, describe="the empty file arrives")
    (stream.source / "data").write_bytes(b"filled")
    stream.await_delivery()


def test_rewritten_in_place_and_replaced_by_rename(stream: Stream):
    rewritten, replaced = stream.source / "rewritten", stream.source / "replaced"
    with Witness(stream.destination) as witness:
        for name in ("rewritten", "replaced"):
            for version in range(4):
                witness.allow(name, b"%d" % version * (1000 + version))
        stream.uploader(chunk_size=256), stream.downloader()
        for version in range(4):
            data = b"%d" % version * (1000 + version)
            rewritten.write_bytes(data)
            temporary = stream.directory / "new"
            temporary.write_bytes(data)
            temporary.rename(replaced)
            stream.await_delivery()


def test_a_whole_tree_moved_in(stream: Stream):
    stream.uploader(), stream.downloader()
    tree = stream.directory / "tree"
    for number in range(50):
        path = tree / f"{number % 7}" / f"{number % 3}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    tree.rename(stream.source / "tree")
    stream.await_delivery()


def test_deletions_and_renames_at_the_source_are_not_mirrored(stream: Stream):
    stream.uploader(), stream.downloader()
    (stream.source / "kept").write_bytes(b"kept")
    (stream.source / "gone").write_bytes(b"gone")
    stream.await_delivery()
    (stream.source / "gone").unlink()
    (stream.source / "kept").rename(stream.source / "renamed")
    eventually(lambda: arrived(stream) == 3, describe="the new name arrives")
    assert set(snapshot(stream.destination)) == {"kept", "gone", "renamed"}


def test_a_change_of_mode_alone_sends_nothing(stream: Stream):
    for number in range(20):
        (stream.source / f"{number}").write_bytes(b"%d" % number)
    uploader = stream.uploader()
    stream.downloader()
    stream.await_delivery()
    before = stream.kafka.end_offsets(stream.topic)
    for number in range(20):
        (stream.source / f"{number}").chmod(0o600)
    uploader.stop()
    stream.uploader()
    (stream.source / "last").write_bytes(b"the scan has passed")
    eventually(lambda: (stream.destination / "last").exists(), describe="the file written last arrives")
    assert sum(stream.kafka.end_offsets(stream.topic).values()) == sum(before.values()) + 1


def test_what_appears_or_changes_while_the_uploader_is_down(stream: Stream):
    (stream.source / "same").write_bytes(b"same")
    (stream.source / "changed").write_bytes(b"before")
    uploader = stream.uploader()
    stream.downloader()
    stream.await_delivery()
    assert uploader.stop() == 0
    (stream.source / "changed").write_bytes(b"after!")
    (stream.source / "appeared").write_bytes(b"new")
    stream.uploader()
    stream.await_delivery()
    assert len(stream.kafka.records(stream.topic)) == 4


def test_thousands_of_directories(stream: Stream):
    for number in range(2000):
        directory = stream.source / f"{number % 50}" / f"{number}"
        directory.mkdir(parents=True)
        (directory / "file").write_bytes(os.urandom(10))
    stream.uploader(), stream.downloader()
    stream.await_delivery()

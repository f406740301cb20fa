"""Files that change: nothing is missed, nothing is mixed, the last version wins."""

import mmap
import os
import threading
import time
from pathlib import Path

from tests.integration.uploader.looking import await_on_topic, drained, saying, sent_versions, watching
from tests.integration.uploader.wire import uploads
from tests.stream import Stream
from tests.waiting import eventually

CHUNK = 4096
QUICK = {"settle_seconds": 0.3, "scan_interval_seconds": 0.3}


def test_a_file_that_is_appended_to_is_sent_a_few_times_and_complete_in_the_end(stream: Stream):
    watching(stream.uploader(settle_seconds=0.3, scan_interval_seconds=0.3))
    path = stream.source / "log"
    deadline = time.monotonic() + 5
    lines = 0
    while time.monotonic() < deadline:
        with path.open("ab") as file:
            file.write(b"line %d\n" % lines)
        lines += 1
    await_on_topic(stream, {"log": path.read_bytes()})
    assert lines > 100
    assert len(sent_versions(stream, "log")) <= 6
    for version in sent_versions(stream, "log"):
        assert path.read_bytes().startswith(version)


def test_a_file_created_empty_and_filled_later_arrives_filled(stream: Stream):
    watching(stream.uploader(**QUICK))
    path = stream.source / "a"
    path.touch()
    await_on_topic(stream, {"a": b""})
    path.write_bytes(b"filled")
    await_on_topic(stream, {"a": b"filled"})


def test_a_file_rewritten_in_place_with_the_same_size_is_sent_again(stream: Stream):
    watching(stream.uploader(**QUICK))
    path = stream.source / "a"
    path.write_bytes(b"one")
    await_on_topic(stream, {"a": b"one"})
    with path.open("r+b") as file:
        file.write(b"two")
    await_on_topic(stream, {"a": b"two"})


def test_a_file_replaced_by_rename_is_sent_as_it_is_then(stream: Stream):
    watching(stream.uploader(settle_seconds=600, exclude="*.part"))
    path = stream.source / "a"
    path.write_bytes(b"one")
    await_on_topic(stream, {"a": b"one"})
    (stream.source / "a.part").write_bytes(b"two")
    (stream.source / "a.part").rename(path)
    await_on_topic(stream, {"a": b"two"})


def test_a_file_changed_while_it_is_read_is_aborted_and_sent_whole(stream: Stream):
    path = stream.source / "a"
    path.write_bytes(b"1" * 100 * CHUNK)
    watching(stream.uploader(chunk_size=CHUNK, rate_limit=50 * CHUNK, **QUICK))
    eventually(lambda: any(len(sent.chunks) >= 2 for sent in uploads(stream.kafka, stream.topic)))
    path.write_bytes(b"2" * 60 * CHUNK)
    await_on_topic(stream, {"a": b"2" * 60 * CHUNK})
    first = uploads(stream.kafka, stream.topic)[0]
    assert first.aborted
    assert not first.complete


def test_a_file_renamed_and_one_deleted_while_they_are_read_are_sent_whole(stream: Stream):
    renamed, deleted = os.urandom(90 * CHUNK), os.urandom(80 * CHUNK)
    (stream.source / "renamed").write_bytes(renamed)
    (stream.source / "deleted").write_bytes(deleted)
    watching(stream.uploader(chunk_size=CHUNK, rate_limit=60 * CHUNK, **QUICK))

    def both_begun() -> bool:
        return {"renamed", "deleted"} <= {s.path for s in uploads(stream.kafka, stream.topic) if s.chunks}

    eventually(both_begun)
    (stream.source / "renamed").rename(stream.source / "name")
    (stream.source / "deleted").unlink()
    await_on_topic(stream, {"renamed": renamed, "deleted": deleted, "name": renamed})


def test_a_whole_tree_that_is_moved_in_is_sent(stream: Stream, tmp_path):
    watching(stream.uploader(settle_seconds=0.3))
    expected = {}
    for number in range(200):
        path = tmp_path / "tree" / f"d{number % 5}" / "x" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
        expected[f"moved/d{number % 5}/x/f{number}"] = b"%d" % number
    (tmp_path / "tree").rename(stream.source / "moved")
    await_on_topic(stream, expected)


def test_files_in_directories_that_appear_while_they_are_written_are_not_missed(stream: Stream):
    watching(stream.uploader(settle_seconds=0.3))
    expected = {}

    def write(worker: int) -> None:
        for number in range(50):
            path = stream.source / f"w{worker}" / f"{number}" / "deep" / "file"
            path.parent.mkdir(parents=True)
            path.write_bytes(b"%d" % number)

    workers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    expected = {f"w{w}/{n}/deep/file": b"%d" % n for w in range(4) for n in range(50)}
    await_on_topic(stream, expected)


def test_what_appears_or_changes_while_the_uploader_is_down_is_sent_and_nothing_else(stream: Stream):
    (stream.source / "same").write_bytes(b"same")
    (stream.source / "changed").write_bytes(b"before")
    service = watching(stream.uploader(**QUICK))
    await_on_topic(stream, {"same": b"same", "changed": b"before"})
    assert service.stop() == 0, service.said
    (stream.source / "changed").write_bytes(b"after!")
    (stream.source / "new").write_bytes(b"new")
    stream.uploader(**QUICK)
    await_on_topic(stream, {"same": b"same", "changed": b"after!", "new": b"new"})
    assert sent_versions(stream, "same") == [b"same"]


def test_chmod_and_touching_back_send_nothing(stream: Stream):
    content = {f"f{number}": os.urandom(3 * CHUNK * (number % 2)) for number in range(20)}
    for name, data in content.items():
        (stream.source / name).write_bytes(data)
    service = watching(stream.uploader(chunk_size=CHUNK, **QUICK))
    await_on_topic(stream, content)
    for when in ("watched", "down"):
        if when == "down":
            assert service.stop() == 0
        for name in content:
            (stream.source / name).chmod(0o600 if when == "watched" else 0o640)
        if when == "down":
            service = watching(stream.uploader(chunk_size=CHUNK, **QUICK))
        assert drained(stream) == {"drained": True}
    assert len(uploads(stream.kafka, stream.topic)) == len(content)


def test_an_overflow_of_the_event_queue_loses_nothing(stream: Stream, tmp_path):
    service = watching(stream.uploader(settle_seconds=0.3, scan_interval_seconds=600))
    service.process.send_signal(19)  # SIGSTOP: events pile up in the kernel
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    scratch = stream.source / "scratch"
    # Two events that differ each time, for equal ones in a row are one.
    for _ in range(limit // 2 + 100):
        scratch.touch()
        scratch.unlink()
    (stream.source / "lost").write_bytes(b"found")
    service.process.send_signal(18)
    await_on_topic(stream, {"lost": b"found"})
    saying(service, "events were lost")


def test_a_file_that_cannot_be_read_is_visible_and_holds_up_no_other(stream: Stream, monkeypatch):
    (stream.source / "fine").write_bytes(b"fine")
    (stream.source / ("x" * 255)).mkdir()
    deep = stream.source
    names = ["y" * 250] * 20
    path = "/".join(names)
    # A path longer than what may travel: made piece by piece, as no call takes it whole.
    here = os.getcwd()
    try:
        os.chdir(deep)
        for name in names:
            os.mkdir(name)
            os.chdir(name)
        with open("deep", "wb") as file:
            file.write(b"deep")
    finally:
        os.chdir(here)
    service = watching(stream.uploader(**QUICK))
    await_on_topic(stream, {"fine": b"fine"})
    assert service.running
    assert len(path) > 4096


def test_what_is_written_through_a_mapping_is_sent_though_no_time_of_the_file_tells(stream: Stream):
    watching(stream.uploader(**QUICK))
    path = stream.source / "a"
    with path.open("w+b") as file:
        file.truncate(4096)
        with mmap.mmap(file.fileno(), 4096) as mapping:
            mapping[:1] = b"1"
            await_on_topic(stream, {"a": b"1" + bytes(4095)})
            before = path.stat()
            mapping[:1] = b"2"  # the page is dirty already
    after = path.stat()
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
    await_on_topic(stream, {"a": b"2" + bytes(4095)})


def test_a_file_that_is_opened_for_writing_and_not_written_to_is_not_sent_again(stream: Stream):
    watching(stream.uploader(**QUICK))
    content = {"small": b"s", "large": os.urandom(3 * 1024 * 1024)}
    for name, data in content.items():
        (stream.source / name).write_bytes(data)
    await_on_topic(stream, content)
    for name in content:
        (stream.source / name).open("r+b").close()
    (stream.source / "later").write_bytes(b"l")
    await_on_topic(stream, content | {"later": b"l"})
    assert drained(stream) == {"drained": True}
    assert len(uploads(stream.kafka, stream.topic)) == 3

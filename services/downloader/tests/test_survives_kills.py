"""Killed at any moment, any number of times: every file is delivered, whole, and never twice.

A user moves each file away as soon as it is seen, so that a second delivery would show.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services.downloader.tests.records import MTIME_NS, file
from services.downloader.tests.simulation import TOPIC_ID, Broker, run_in_child

from chunkproto import Chunk, End, Whole
from chunkproto.checkpoint import Checkpoint
from penstock_downloader.service import Downloader
from servicekit import faults

assert Downloader  # importing it declares all fault points
CRASH_POINTS = [
    name
    for name in faults.declared()
    if name.split(".")[1].startswith(("before", "after"))
    and not name.startswith("receipt.")  # Kafka's, not simulated here
    and not name.endswith("-seal")  # has a test of its own below
]


def files_in(root: Path) -> dict[str, Path]:
    return {
        str(path.relative_to(root)): path
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(root).parts[0] != ".penstock"
    }


class User:
    """Takes every file away as soon as it is there, and keeps a list."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seen: list[tuple[str, bytes, int]] = []

    def look(self) -> None:
        if self.root.exists():
            for name, path in files_in(self.root).items():
                self.seen.append((name, path.read_bytes(), path.stat().st_mtime_ns))
                path.unlink()


def interleaved(files, order):
    """Give the records of several files, in turns."""
    scripts = [list(one.records()) for one in files]
    records = []
    for turn in order:
        script = scripts[turn % len(scripts)]
        if script:
            records.append(script.pop(0))
    return records + [record for script in scripts for record in script]


FILES = [file("d/whole", 10), file("big", 80), file("d/e/big", 50), file("empty", 0), file("w", 16)]
RECORDS = interleaved(FILES, [1, 1, 0, 2, 1, 2, 3, 1, 1, 2, 4, 1, 2])


def check(directory: Path, user: User, files) -> None:
    assert sorted(user.seen) == sorted((one.path, one.data, MTIME_NS) for one in files)
    assert list((directory / "root/.penstock/downloader/partial").iterdir()) == []
    receipts = Broker(directory).receipts()
    delivered = {one["subject"] for one in receipts if one["type"].endswith("file.delivered")}
    assert delivered == {str(one.upload_id) for one in files}
    assert len({one["id"] for one in receipts}) == len(files)
    assert Broker(directory).committed()[0] is not None


@pytest.mark.parametrize("hit", [1, 2, 4])
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_killed_once_at_a_crash_point(tmp_path, point, hit):
    user = User(tmp_path / "root")
    finished = run_in_child(tmp_path, RECORDS, {"PENSTOCK_CRASH_AT": f"{point}:{hit}"})
    assert not finished or hit > 1, "the fault point is never reached"
    user.look()
    assert run_in_child(tmp_path, RECORDS, {})
    user.look()
    check(tmp_path, user, FILES)


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_killed_again_and_again_at_a_crash_point(tmp_path, point):
    user = User(tmp_path / "root")
    for _ in range(12):
        done = run_in_child(tmp_path, RECORDS, {"PENSTOCK_CRASH_AT": f"{point}:2"})
        user.look()
        if done:
            break
    assert run_in_child(tmp_path, RECORDS, {})
    user.look()
    check(tmp_path, user, FILES)


@st.composite
def topics(draw):
    files = [
        file(f"{'d/' * draw(st.integers(0, 2))}{number}", draw(st.integers(0, 90)))
        for number in range(draw(st.integers(1, 5)))
    ]
    records = interleaved(files, draw(st.lists(st.integers(0, 4), max_size=20)))
    # An uploader that was killed sends again what it has no acknowledgement of, and says so.
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(records) - 1))
        record, value = records[at]
        later = draw(st.integers(at + 1, len(records)))
        following = [other for other, _ in records[at + 1 : later] if other.upload_id == record.upload_id]
        if not following or isinstance(record, End | Whole):
            records.insert(later, (replace(record, again=True), value))
        elif all(isinstance(other, Chunk) for other in following):
            repeated = [(record, value)] + [
                (other, its) for other, its in records[at + 1 : later] if other.upload_id == record.upload_id
            ]
            records[later:later] = [(replace(other, again=True), its) for other, its in repeated]
    return files, records


# Point, at which hit, and whether the group's offsets expire then.
kills = st.lists(st.tuples(st.sampled_from(CRASH_POINTS), st.integers(1, 6), st.booleans()), max_size=4)


@settings(max_examples=40)
@given(topics(), kills)
def test_any_topic_and_any_kills(tmp_path_factory, topic, killed_at):
    files, records = topic
    directory = tmp_path_factory.mktemp("destination")
    user = User(directory / "root")
    for point, hit, offsets_expire in killed_at:
        run_in_child(directory, records, {"PENSTOCK_CRASH_AT": f"{point}:{hit}"})
        user.look()
        if offsets_expire:
            (directory / "committed.json").unlink(missing_ok=True)
    assert run_in_child(directory, records, {})
    user.look()
    check(directory, user, files)
    shutil.rmtree(directory)


def test_offsets_that_expired_deliver_nothing_twice(tmp_path):
    user = User(tmp_path / "root")
    for _ in range(3):
        assert run_in_child(tmp_path, RECORDS, {})
        user.look()
        (tmp_path / "committed.json").unlink()
    assert run_in_child(tmp_path, RECORDS, {})
    check(tmp_path, user, FILES)


def test_in_mid_file_it_goes_on_although_the_head_of_the_topic_is_gone(tmp_path):
    big = file("big", 160)
    records = big.records()
    run_in_child(tmp_path, records, {"PENSTOCK_CRASH_AT": "partial.before-write:8"})
    committed, metadata = Broker(tmp_path).committed()
    assert committed > 0
    assert Checkpoint.decode(committed, metadata, TOPIC_ID).entries
    user = User(tmp_path / "root")
    assert run_in_child(tmp_path, records, {}, log_start=committed)
    user.look()
    check(tmp_path, user, [big])


@pytest.mark.parametrize("point", ["sink.sync", "partial.sync"])
def test_what_could_not_be_made_durable_is_read_again(tmp_path, point):
    user = User(tmp_path / "root")
    assert run_in_child(tmp_path, RECORDS, {"PENSTOCK_FAIL_AT": f"{point}=EIO:1"})
    user.look()
    check(tmp_path, user, FILES)


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS", "EDQUOT"])
@pytest.mark.parametrize(
    "point",
    ["partial.write", "delivery.whole-write", "delivered-log.append", "sink.rename", "sink.directory-sync"],
)
def test_a_full_destination_is_waited_for_and_nothing_is_refused(tmp_path, point, error):
    user = User(tmp_path / "root")
    assert run_in_child(tmp_path, RECORDS, {"PENSTOCK_FAIL_AT": f"{point}={error}:5"})
    user.look()
    check(tmp_path, user, FILES)


def test_a_file_whose_place_is_refused_is_rejected_and_the_others_arrive(tmp_path):
    user = User(tmp_path / "root")
    assert run_in_child(tmp_path, RECORDS, {"PENSTOCK_FAIL_AT": "sink.rename=EBUSY:1"})
    user.look()
    said = [one["data"] for one in Broker(tmp_path).receipts()]
    (rejected,) = (one["path"] for one in said if one.get("reason") == "path-conflict")
    assert {name for name, _, _ in user.seen} == {one.path for one in FILES if one.path != rejected}


@pytest.mark.parametrize("point", ["delivered-log.before-seal", "delivered-log.after-seal"])
def test_killed_while_the_delivered_log_is_sorted(tmp_path, point):
    user = User(tmp_path / "root")
    assert not run_in_child(tmp_path, RECORDS, {"PENSTOCK_CRASH_AT": "sink.after-rename:2"})
    user.look()
    assert not run_in_child(tmp_path, RECORDS, {"PENSTOCK_CRASH_AT": point})
    user.look()
    assert run_in_child(tmp_path, RECORDS, {})
    user.look()
    check(tmp_path, user, FILES)


def test_an_unfinished_upload_whose_partial_is_gone_begins_again(tmp_path):
    big, other = file("big", 160), file("other", 60)
    records = interleaved([big, other], [0, 1] * 4)
    run_in_child(tmp_path, records, {"PENSTOCK_CRASH_AT": "partial.before-write:9"})
    assert Broker(tmp_path).committed()[1], "something unfinished was committed"
    partial = tmp_path / "root/.penstock/downloader/partial" / str(big.upload_id)
    partial.unlink()
    user = User(tmp_path / "root")
    assert run_in_child(tmp_path, records, {})
    user.look()
    check(tmp_path, user, [big, other])


def test_an_unfinished_upload_whose_partial_is_too_short_begins_again(tmp_path):
    big = file("big", 160)
    run_in_child(tmp_path, big.records(), {"PENSTOCK_CRASH_AT": "partial.before-write:9"})
    partial = tmp_path / "root/.penstock/downloader/partial" / str(big.upload_id)
    with partial.open("r+b") as stream:
        stream.truncate(5)
    user = User(tmp_path / "root")
    assert run_in_child(tmp_path, big.records(), {})
    user.look()
    check(tmp_path, user, [big])

"""The delivered log: what is in it stays found, whatever is torn, sorted or merged."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkproto import UploadId, next_upload_id
from penstock_downloader.deliveredlog import ACTIVE_ENTRIES, KEEP_SECONDS, DeliveredLog, Entry, Kind, read_log
from servicekit import faults

LONG_AFTER = 1e9
"""When all entries of these tests, whose ids begin in 1970, are old."""


def upload_id(number: int) -> UploadId:
    return next_upload_id(number, number * 7919, None)


def entry(
    number: int, *, offset: int | None = None, name: str | None = None, kind: Kind = Kind.DELIVERED
) -> Entry:
    return Entry(
        upload_id(number),
        number if offset is None else offset,
        bytes([number % 256]) * 32,
        name or f"dir/{number}",
        kind,
    )


@pytest.fixture(autouse=True)
def no_faults():
    yield
    faults.arm({})


names = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=50
)
entries = st.lists(
    st.builds(entry, st.integers(0, 500), name=names), unique_by=lambda e: e.upload_id, max_size=40
)


@given(entries)
def test_a_later_assignment_finds_what_an_earlier_one_appended(tmp_path_factory, given_entries):
    directory = str(tmp_path_factory.mktemp("log") / "topic" / "0")
    log = DeliveredLog(directory)
    for one in given_entries:
        log.append([one])
    log.close()
    again = DeliveredLog(directory)
    assert [again.find(one.upload_id) for one in given_entries] == given_entries
    assert again.recent() == given_entries
    assert again.last_offset == max((one.offset for one in given_entries), default=-1)
    again.close()


@given(entries, st.data())
def test_a_torn_end_costs_only_the_torn_entries(tmp_path_factory, given_entries, data):
    directory = tmp_path_factory.mktemp("log")
    log = DeliveredLog(str(directory))
    sizes = [0]
    for one in given_entries:
        log.append([one])
        (path,) = directory.iterdir()
        sizes.append(path.stat().st_size)
    log.close()
    if not given_entries:
        return
    cut = data.draw(st.integers(0, sizes[-1]))
    os.truncate(path, cut)
    whole = sum(size <= cut for size in sizes) - 1
    assert list(read_log(str(path))) == given_entries[:whole]


@given(entries.filter(len), st.data())
def test_a_flipped_byte_ends_the_log_there(tmp_path_factory, given_entries, data):
    directory = tmp_path_factory.mktemp("log")
    log = DeliveredLog(str(directory))
    log.append(given_entries)
    log.close()
    (path,) = directory.iterdir()
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    found = list(read_log(str(path)))
    assert found == given_entries[: len(found)]
    assert len(found) < len(given_entries)


@settings(max_examples=50)
@given(st.lists(entries, max_size=8), st.integers(0, 500))
def test_sorting_and_merging_keep_all_that_can_come_again(tmp_path_factory, assignments, log_start):
    directory = str(tmp_path_factory.mktemp("log"))
    expected: dict[UploadId, Entry] = {}
    for appended in assignments:
        log = DeliveredLog(directory)
        if appended:
            log.append(appended)
        expected.update((one.upload_id, one) for one in appended)
        log.seal(0, LONG_AFTER)
        log.close()
    log = DeliveredLog(directory)
    log.seal(log_start, LONG_AFTER)
    for one in expected.values():
        if one.offset >= log_start:
            assert log.find(one.upload_id) == one
    assert log.find(upload_id(501)) is None
    log.close()


def test_entries_that_the_log_start_has_passed_go(tmp_path):
    log = DeliveredLog(str(tmp_path))
    log.append([entry(number) for number in range(100)])
    log.seal(0, LONG_AFTER)
    log.seal(100, LONG_AFTER)
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_young_entries_stay_although_the_log_start_has_passed_them(tmp_path):
    """Their sources may send them again, as new records."""
    young, old = [entry(2_000 + number) for number in range(50)], [entry(number) for number in range(50)]
    now = KEEP_SECONDS + 1.0  # what began in the first second is old
    for appended in (old, young, [entry(3_000)]):
        log = DeliveredLog(str(tmp_path))
        log.append(appended)
        log.seal(0, now)
        log.close()
    log = DeliveredLog(str(tmp_path))
    log.append([entry(3_001), entry(999)])
    log.seal(100_000, now)
    assert all(log.find(one.upload_id) == one for one in [*young, entry(3_000), entry(3_001)])
    assert log.find(upload_id(999)) is None
    log.seal(100_000, now + 10)
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_many_assignments_leave_few_files(tmp_path):
    for number in range(200):
        log = DeliveredLog(str(tmp_path))
        log.append([entry(number)])
        log.seal(0, LONG_AFTER)
        log.close()
    log = DeliveredLog(str(tmp_path))
    assert all(log.find(upload_id(number)) for number in range(200))
    log.close()
    assert len(list(tmp_path.iterdir())) <= 8


def test_what_is_held_in_memory_is_bounded(tmp_path):
    log = DeliveredLog(str(tmp_path))
    for start in range(0, 4 * ACTIVE_ENTRIES, 64):
        log.append([entry(number) for number in range(start, start + 64)])
        if log.is_due:
            log.seal(0, LONG_AFTER)
        assert len(log.recent()) <= ACTIVE_ENTRIES + 64
    assert log.find(upload_id(1)) == entry(1)
    log.close()


def test_a_process_that_lost_the_partition_spoils_nothing(tmp_path):
    zombie = DeliveredLog(str(tmp_path))
    zombie.append([entry(1)])
    owner = DeliveredLog(str(tmp_path))
    owner.append([entry(2)])
    zombie.append([entry(3)])
    owner.seal(0, LONG_AFTER)
    zombie.append([entry(4)])
    third = DeliveredLog(str(tmp_path))
    assert third.find(upload_id(1)) == entry(1)
    assert third.find(upload_id(2)) == entry(2)
    for log in (zombie, owner, third):
        log.close()


def test_an_upload_that_got_no_name_after_all_is_no_longer_delivered(tmp_path):
    log = DeliveredLog(str(tmp_path))
    log.append([entry(1), entry(2)])
    log.append([entry(1, kind=Kind.REFUSED, name="stale"), entry(2, kind=Kind.WITHDRAWN)])
    for _ in range(2):
        assert log.find(upload_id(1)) == entry(1, kind=Kind.REFUSED, name="stale")
        assert log.find(upload_id(2)) is None
        log.seal(0, LONG_AFTER)
    log.close()


def test_an_entry_that_could_not_be_written_leaves_no_trace(tmp_path):
    log = DeliveredLog(str(tmp_path))
    log.append([entry(1)])
    faults.arm({"PENSTOCK_FAIL_AT": "delivered-log.append=ENOSPC:1"})
    with pytest.raises(OSError, match="space"):
        log.append([entry(2)])
    log.append([entry(3)])
    log.close()
    again = DeliveredLog(str(tmp_path))
    assert again.recent() == [entry(1), entry(3)]
    again.close()


def test_after_a_failed_sync_entries_go_to_another_file(tmp_path):
    log = DeliveredLog(str(tmp_path))
    log.append([entry(1)])
    faults.arm({"PENSTOCK_FAIL_AT": "delivered-log.sync=EIO:1"})
    with pytest.raises(OSError, match="output"):
        log.append([entry(2)])
    log.append([entry(2)])
    log.close()
    assert len(list(tmp_path.iterdir())) == 2
    again = DeliveredLog(str(tmp_path))
    assert again.find(upload_id(2)) == entry(2)
    again.close()


def test_names_of_any_bytes_are_kept(tmp_path):
    log = DeliveredLog(str(tmp_path))
    odd = os.fsdecode(b"caf\xe9\n/" + b"x" * 4000)
    log.append([entry(1, name=odd)])
    log.seal(0, LONG_AFTER)
    assert log.find(upload_id(1)).name == odd
    log.close()

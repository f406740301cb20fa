"""Where files may go: never out of the destination, never over what must stand, whatever stands there."""

import errno
import os
import stat
import subprocess

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from services.downloader.tests.records import MTIME_NS, new_id

from chunkproto import Description, Reason, SkipReason
from penstock_downloader.deliveredlog import DeliveredLog
from penstock_downloader.delivery import Delivery, Tenure, finish
from penstock_downloader.exceptions import Refused, SinkUnavailable, Skipped
from penstock_downloader.sink import FileSystemSink, Origin, Place, _numbered
from servicekit import faults


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / ".penstock").mkdir(parents=True)
    return root


@pytest.fixture
def make_sink(root):
    sinks = []

    def make(**given):
        sinks.append(FileSystemSink(str(root), **given))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()
    faults.arm({})


def description(path, source="source", mode=0o640):
    return Description(path, 5, 16, MTIME_NS, mode, source)


def deliver(sink, root, path, data=b"bytes", upload_id=None, source="source", mode=0o640):
    """Deliver a file as the delivery thread does; return its place."""
    upload_id = upload_id or new_id()
    digest = blake3(data).digest()
    place = sink.accept(upload_id, description(path, source, mode), digest)
    partial = root / ".penstock" / str(upload_id)
    fd = os.open(partial, os.O_CREAT | os.O_RDWR)
    try:
        os.write(fd, data)
        sink.dress(fd, str(partial), upload_id, description(path, source, mode), digest)
        sink.sync([fd])
    finally:
        os.close(fd)
    sink.place(str(partial), place)
    sink.settle()
    sink.release()
    return place


def stage(sink, root, path, source="source", upload_id=None):
    """Bring a file to where it has only to be given its name; return its delivery."""
    delivery = Delivery(
        None, upload_id or new_id(), 0, description(path, source), blake3(b"bytes").digest(), 0
    )
    delivery.place = sink.accept(delivery.upload_id, delivery.description, delivery.digest)
    delivery.path = str(root / ".penstock" / str(delivery.upload_id))
    fd = os.open(delivery.path, os.O_CREAT | os.O_RDWR)
    os.write(fd, b"bytes")
    sink.dress(fd, delivery.path, delivery.upload_id, delivery.description, delivery.digest)
    os.close(fd)
    return delivery


def test_a_file_gets_its_bytes_mode_and_time(make_sink, root):
    deliver(make_sink(), root, "a/b/c.txt", mode=0o604)
    status = (root / "a/b/c.txt").stat()
    assert (root / "a/b/c.txt").read_bytes() == b"bytes"
    assert status.st_mtime_ns == MTIME_NS
    assert stat.S_IMODE(status.st_mode) == 0o604


def test_a_file_without_mode_gets_what_any_new_file_gets(make_sink, root):
    (root / "ordinary").touch()
    deliver(make_sink(), root, "delivered", mode=None)
    assert (root / "delivered").stat().st_mode == (root / "ordinary").stat().st_mode


def test_a_delivered_file_says_what_it_is(make_sink, root):
    upload_id = new_id()
    deliver(make_sink(), root, "a", upload_id=upload_id, source="a source")
    raw = os.getxattr(root / "a", "user.penstock.upload")
    assert Origin.decode(raw) == Origin(upload_id, blake3(b"bytes").digest(), "a source")
    assert raw.decode() == f"{upload_id} {blake3(b'bytes').hexdigest()} a source"


@given(st.binary())
def test_an_attribute_of_anyone_else_is_no_origin(raw):
    assert Origin.decode(raw) is None


@pytest.mark.parametrize("planted", ["link", "a/link", "a/link/b"])
def test_a_symbolic_link_to_a_directory_is_never_followed(make_sink, root, tmp_path, planted):
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / planted).parent.mkdir(parents=True, exist_ok=True)
    (root / planted).symlink_to(outside)
    with pytest.raises(Refused) as refused:
        deliver(make_sink(), root, f"{planted}/file")
    assert refused.value.reason is Reason.UNSAFE_PATH
    assert list(outside.iterdir()) == []


def test_a_symbolic_link_in_the_file_s_place_is_left_alone(make_sink, root, tmp_path):
    target = tmp_path / "target"
    target.write_text("mine")
    (root / "file").symlink_to(target)
    with pytest.raises(Refused) as refused:
        deliver(make_sink(), root, "file")
    assert refused.value.reason is Reason.UNSAFE_PATH
    assert target.read_text() == "mine"
    assert (root / "file").is_symlink()


def test_a_link_that_is_planted_between_two_files_of_a_batch_is_not_followed(make_sink, root, tmp_path):
    sink = make_sink()
    deliver(sink, root, "a/first")
    (root / "a").rename(root / "b")
    (root / "a").symlink_to(tmp_path)
    with pytest.raises(Refused):
        deliver(sink, root, "a/second")
    assert not (tmp_path / "second").exists()


def test_another_file_system_on_the_way_is_refused(make_sink, root):
    (root / "mount").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "none", root / "mount"], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this user may not mount")
    try:
        with pytest.raises(Refused) as refused:
            deliver(make_sink(), root, "mount/file")
        assert refused.value.reason is Reason.UNSAFE_PATH
    finally:
        subprocess.run(["umount", root / "mount"], check=True)


def test_a_file_where_a_directory_is_needed_is_a_conflict(make_sink, root):
    deliver(make_sink(), root, "a")
    with pytest.raises(Refused) as refused:
        deliver(make_sink(), root, "a/b")
    assert refused.value.reason is Reason.PATH_CONFLICT
    assert (root / "a").read_bytes() == b"bytes"


def test_of_a_file_and_one_below_it_in_one_batch_the_first_wins(make_sink):
    sink = make_sink()
    sink.accept(new_id(), description("a"), b"1" * 32)
    with pytest.raises(Refused) as refused:
        sink.accept(new_id(), description("a/b/c"), b"2" * 32)
    sink.release()
    assert refused.value.reason is Reason.PATH_CONFLICT


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_never_replaced(make_sink, root, make):
    make(root / "a")
    with pytest.raises(Refused) as refused:
        deliver(make_sink(), root, "a")
    assert refused.value.reason is Reason.PATH_CONFLICT


@pytest.mark.parametrize("path", ["x" * 256, "é" * 128, "a/" + "y" * 300 + "/b"])
def test_a_name_that_is_too_long_is_refused(make_sink, root, path):
    with pytest.raises(Refused) as refused:
        deliver(make_sink(), root, path)
    assert refused.value.reason is Reason.NAME_TOO_LONG


@pytest.mark.parametrize(
    "path",
    [
        "x" * 255,
        "/".join(["deep"] * 40) + "/file",
        "/".join("d" for _ in range(300)),
        "new\nline",
        "🦀 ; rm -rf",
        os.fsdecode(b"caf\xe9"),
        " ",
        "...",
    ],
)
def test_any_name_that_the_file_system_has_arrives(make_sink, root, path):
    deliver(make_sink(), root, path)
    fd = os.open(root, os.O_RDONLY)
    for part in path.split("/"):
        inner = os.open(part, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    assert os.read(fd, 10) == b"bytes"
    os.close(fd)


# Directories that somebody removes meanwhile


def test_directories_that_are_tidied_away_between_two_files_of_a_batch_are_made_again(make_sink, root):
    sink = make_sink(portable_names=True)
    sink.accept(new_id(), description("a/b/first"), b"1" * 32)
    (root / "a/b").rmdir()
    (root / "a").rmdir()
    sink.accept(new_id(), description("a/b/c/second"), b"2" * 32)
    sink.release()
    deliver(sink, root, "a/b/c/second")
    assert (root / "a/b/c/second").read_bytes() == b"bytes"


def test_a_directory_that_is_tidied_away_before_the_file_gets_its_name_is_made_again(make_sink, root):
    sink = make_sink()
    jobs = [stage(sink, root, path) for path in ("kept/a", "tidied/b")]
    (root / "tidied").rmdir()
    tenure = Tenure(0, DeliveredLog(str(root / ".penstock/log/topic/0")), 0)
    for delivery in jobs:
        finish(sink, tenure, delivery, delivery.path)
    assert (root / "tidied/b").read_bytes() == b"bytes"


def test_of_all_files_of_a_batch_the_names_are_made_durable_whatever_is_tidied_away(
    make_sink, root, monkeypatch
):
    sink = make_sink()
    jobs = [stage(sink, root, path) for path in ("kept/a", "tidied/b")]
    (root / "tidied").rmdir()
    tenure = Tenure(0, DeliveredLog(str(root / ".penstock/log/topic/0")), 0)
    for delivery in jobs:
        finish(sink, tenure, delivery, delivery.path)
    synced = set()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.add(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    sink.settle()
    assert synced >= {str(root), str(root / "kept"), str(root / "tidied")}


def test_a_destination_that_is_removed_takes_nothing(make_sink, root):
    sink = make_sink()
    root.rename(root.with_name("moved"))
    (root.with_name("moved") / ".penstock").rmdir()
    root.with_name("moved").rmdir()
    with pytest.raises(SinkUnavailable):
        sink.accept(new_id(), description("a/b"), b"1" * 32)


# Versions, sources, conflicts


def test_a_newer_version_replaces_an_older_one(make_sink, root):
    deliver(make_sink(), root, "a", b"older")
    deliver(make_sink(), root, "a", b"newer")
    assert (root / "a").read_bytes() == b"newer"


def test_an_older_version_never_replaces_a_newer_one_and_names_it(make_sink, root):
    older, newer = new_id(), new_id()
    deliver(make_sink(), root, "a", b"newer", newer)
    with pytest.raises(Refused) as refused:
        deliver(make_sink(), root, "a", b"older", older)
    assert refused.value.reason is Reason.STALE
    assert str(newer) in refused.value.detail
    assert (root / "a").read_bytes() == b"newer"


def test_two_versions_in_one_batch_stand_in_their_order(make_sink):
    sink = make_sink()
    older, newer = new_id(), new_id()
    sink.accept(newer, description("a"), b"2" * 32)
    with pytest.raises(Refused) as refused:
        sink.accept(older, description("a"), b"1" * 32)
    assert refused.value.reason is Reason.STALE
    sink.release()


def test_a_file_of_another_source_is_not_replaced_unless_told(make_sink, root):
    deliver(make_sink(), root, "a", b"first", source="one")
    with pytest.raises(Refused) as refused:
        deliver(make_sink(), root, "a", b"other", source="two")
    assert refused.value.reason is Reason.SOURCE_CONFLICT
    assert "'one'" in refused.value.detail
    deliver(make_sink(source_conflict="replace"), root, "a", b"other", source="two")
    assert (root / "a").read_bytes() == b"other"


def test_where_sources_may_replace_each_other_s_files_their_clocks_do_not_matter(make_sink, root):
    behind, ahead = new_id(), new_id()
    sink = make_sink(source_conflict="replace")
    deliver(sink, root, "a", upload_id=ahead, source="ahead")
    delivery = stage(sink, root, "a", source="behind", upload_id=behind)
    finish(sink, Tenure(0, DeliveredLog(str(root / ".penstock/log/topic/0")), 0), delivery, delivery.path)
    assert Origin.decode(os.getxattr(root / "a", "user.penstock.upload")).source == "behind"


def test_a_finished_partial_says_of_which_source_it_is(make_sink, root):
    sink = make_sink()
    assert sink.source_of(stage(sink, root, "a", source="another").path) == "another"
    assert sink.source_of(str(root / "missing")) is None


def test_a_file_that_nobody_sent_is_replaced(make_sink, root):
    (root / "a").write_text("made by hand")
    deliver(make_sink(), root, "a")
    assert (root / "a").read_bytes() == b"bytes"


def test_the_same_upload_stands_there_already(make_sink, root):
    upload_id = new_id()
    deliver(make_sink(), root, "a", upload_id=upload_id)
    for policy in ("replace", "keep-both", "skip"):
        place = make_sink(on_conflict=policy).accept(upload_id, description("a"), blake3(b"bytes").digest())
        assert place.is_there


def test_both_are_kept_when_told(make_sink, root):
    for data in (b"one", b"two", b"six"):
        deliver(make_sink(on_conflict="keep-both"), root, "d/a.tar.gz", data)
    assert {path.name: path.read_bytes() for path in (root / "d").iterdir()} == {
        "a.tar.gz": b"one",
        "a.tar (2).gz": b"two",
        "a.tar (3).gz": b"six",
    }


def test_two_to_be_kept_in_one_batch_get_two_names(make_sink):
    sink = make_sink(on_conflict="keep-both")
    places = [sink.accept(new_id(), description("a"), b"1" * 32).path for _ in range(3)]
    sink.release()
    assert places == ["a", "a (2)", "a (3)"]


def test_a_file_that_came_in_between_is_not_replaced(make_sink, root):
    sink = make_sink(on_conflict="keep-both")
    place = sink.accept(new_id(), description("a"), b"1" * 32)
    (root / "a").write_text("just now")
    partial = root / ".penstock/partial"
    partial.write_text("delivered")
    with pytest.raises(FileExistsError):
        sink.place(str(partial), place)
    other = sink.another(place)
    sink.place(str(partial), other)
    assert (root / "a").read_text() == "just now"
    assert (root / other.path).read_text() == "delivered"


def test_what_exists_is_skipped_when_told(make_sink, root):
    (root / "a").write_text("mine")
    with pytest.raises(Skipped) as skipped:
        deliver(make_sink(on_conflict="skip"), root, "a")
    assert skipped.value.reason is SkipReason.EXISTS
    assert (root / "a").read_text() == "mine"


@given(
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1),
    st.integers(2, 9999),
)
def test_a_copy_s_name_is_another_name_that_fits(name, number):
    copy = _numbered(name[:60], number)
    assert copy != name[:60]
    assert len(copy.encode()) <= 255
    assert f"({number})" in copy


@pytest.mark.parametrize(("first", "second"), [("Data/a", "data/b"), ("A", "a"), ("caf\u00e9", "cafe\u0301")])
def test_names_that_collide_elsewhere_are_refused_when_told(make_sink, root, first, second):
    deliver(make_sink(portable_names=True), root, first)
    with pytest.raises(Refused) as refused:
        deliver(make_sink(portable_names=True), root, second)
    assert refused.value.reason is Reason.UNPORTABLE_PATH
    deliver(make_sink(), root, second)


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS", "EDQUOT", "EIO"])
def test_trouble_with_the_whole_destination_refuses_no_file(make_sink, root, error):
    faults.arm({"PENSTOCK_FAIL_AT": f"sink.rename={error}:1"})
    sink = make_sink()
    with pytest.raises(SinkUnavailable):
        deliver(sink, root, "a")
    sink.release()
    deliver(sink, root, "a")


@pytest.mark.parametrize("error", ["EBUSY", "EMLINK", "ETXTBSY", "ENOTEMPTY", "EPROTO"])
def test_any_other_trouble_with_a_place_refuses_that_file_alone(make_sink, root, error):
    faults.arm({"PENSTOCK_FAIL_AT": f"sink.rename={error}:1"})
    sink = make_sink()
    with pytest.raises(Refused) as refused:
        deliver(sink, root, "a")
    sink.release()
    assert refused.value.reason is Reason.PATH_CONFLICT
    assert os.strerror(getattr(errno, error)) in refused.value.detail
    deliver(sink, root, "b")


def test_a_stale_file_is_noticed_again_when_it_is_finished_later(make_sink, root):
    older, newer = new_id(), new_id()
    deliver(make_sink(), root, "a", b"newer", newer)
    standing = make_sink().is_superseded(older, "source", Place("a", replace=True))
    assert standing is not None
    assert standing.upload_id == newer
    assert make_sink().is_superseded(newer, "source", Place("a", replace=True)) is None

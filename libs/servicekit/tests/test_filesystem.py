"""What only some platforms have, and what happens where they do not."""

import errno
import os
import subprocess
import sys

import pytest

from servicekit import filesystem
from servicekit.exceptions import StateError
from servicekit.filesystem import FileLock, Fingerprint, filesystem_type_in, is_remote, rename_noreplace

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path)


def write(directory, name, content=b"x"):
    path = os.path.join(directory, name)
    with open(path, "wb") as stream:
        stream.write(content)
    return path


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


class TestFingerprint:
    def test_is_equal_as_long_as_nothing_changes(self, directory):
        path = write(directory, "a")

        assert Fingerprint.of(os.stat(path)) == Fingerprint.of(os.stat(path))

    def test_tells_a_replaced_file_of_same_size_and_time(self, directory):
        path, other = write(directory, "a", b"1"), write(directory, "b", b"2")
        os.utime(path, ns=(1, 1))
        os.utime(other, ns=(1, 1))
        before = Fingerprint.of(os.stat(path))
        os.replace(other, path)
        after = Fingerprint.of(os.stat(path))

        assert after != before
        assert after.same_content(before)

    def test_a_changed_mode_is_another_fingerprint_of_the_same_content(self, directory):
        path = write(directory, "a")
        before = Fingerprint.of(os.stat(path))
        while Fingerprint.of(os.stat(path)) == before:  # until the clock of the file system has moved on
            os.chmod(path, 0o600)

        assert Fingerprint.of(os.stat(path)).same_content(before)


class RenameNoReplace:
    """What every way of doing it must keep."""

    def test_moves_the_file(self, directory, rename):
        source = write(directory, "a", b"content")

        rename(source, os.path.join(directory, "b"))

        assert os.listdir(directory) == ["b"]
        assert read(os.path.join(directory, "b")) == b"content"

    @pytest.mark.parametrize("what", ["file", "directory", "dangling link"])
    def test_replaces_nothing(self, directory, rename, what):
        source, target = write(directory, "a"), os.path.join(directory, "b")
        if what == "file":
            write(directory, "b", b"mine")
        elif what == "directory":
            os.mkdir(target)
        else:
            os.symlink("nowhere", target)

        with pytest.raises(FileExistsError):
            rename(source, target)

        assert sorted(os.listdir(directory)) == ["a", "b"]

    def test_a_missing_file_is_missing(self, directory, rename):
        with pytest.raises(FileNotFoundError):
            rename(os.path.join(directory, "a"), os.path.join(directory, "b"))

    def test_works_from_open_directories(self, directory, rename):
        os.mkdir(os.path.join(directory, "sub"))
        write(directory, "a")
        here = os.open(directory, os.O_RDONLY)
        there = os.open(os.path.join(directory, "sub"), os.O_RDONLY)
        try:
            rename("a", "b", source_dir_fd=here, target_dir_fd=there)
        finally:
            os.close(here)
            os.close(there)

        assert os.listdir(os.path.join(directory, "sub")) == ["b"]

    def test_a_link_is_moved_and_not_followed(self, directory, rename):
        os.symlink("nowhere", os.path.join(directory, "a"))

        rename(os.path.join(directory, "a"), os.path.join(directory, "b"))

        assert os.readlink(os.path.join(directory, "b")) == "nowhere"

    def test_a_link_in_an_open_directory_is_not_followed_either(self, directory, rename):
        os.symlink("nowhere", os.path.join(directory, "a"))
        here = os.open(directory, os.O_RDONLY)
        try:
            rename("a", "b", source_dir_fd=here, target_dir_fd=here)
        finally:
            os.close(here)

        assert os.readlink(os.path.join(directory, "b")) == "nowhere"

    def test_names_may_be_any_bytes(self, directory, rename):
        source = write(directory, os.fsdecode(b"a\xff"))

        rename(source, os.path.join(directory, os.fsdecode(b"b\xfe")))

        assert os.listdir(os.fsencode(directory)) == [b"b\xfe"]


class TestRenameNoReplace(RenameNoReplace):
    @pytest.fixture
    def rename(self):
        return rename_noreplace


@pytest.mark.skipif(os.name == "nt", reason="rename never replaces there")
class TestRenameNoReplaceByLink(RenameNoReplace):
    """Where there is no renameat2: macOS, NFS."""

    @pytest.fixture
    def rename(self, monkeypatch):
        monkeypatch.setattr(filesystem, "_libc", None)
        return rename_noreplace


@pytest.mark.skipif(os.name == "nt", reason="rename never replaces there")
class TestRenameNoReplaceByLooking(RenameNoReplace):
    """Where there are no hard links either: vfat, some network mounts."""

    @pytest.fixture
    def rename(self, monkeypatch):
        def no_links(*args, **kwargs):
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(filesystem, "_libc", None)
        monkeypatch.setattr(os, "link", no_links)
        monkeypatch.setattr(os, "supports_follow_symlinks", os.supports_follow_symlinks | {no_links})
        return rename_noreplace


class TestAttributes:
    @pytest.fixture(autouse=True)
    def _where_there_are_any(self, directory):
        if not filesystem.supports_attributes(directory):
            pytest.skip("this file system has no extended attributes")

    def test_what_was_set_is_read(self, directory):
        path = write(directory, "a")

        assert filesystem.get_attribute(path, "upload") is None
        assert filesystem.set_attribute(path, "upload", b"\0id")
        assert filesystem.get_attribute(path, "upload") == b"\0id"

    def test_they_are_in_our_own_name_space(self, directory):
        path = write(directory, "a")
        filesystem.set_attribute(path, "upload", b"id")

        assert "user.penstock.upload" in os.listxattr(path)

    def test_an_open_file_will_do(self, directory):
        with open(write(directory, "a"), "r+b") as stream:
            assert filesystem.set_attribute(stream.fileno(), "upload", b"id")
            assert filesystem.get_attribute(stream.fileno(), "upload") == b"id"

    def test_a_missing_file_is_no_missing_attribute(self, directory):
        with pytest.raises(FileNotFoundError):
            filesystem.get_attribute(os.path.join(directory, "a"), "upload")


@linux
def test_where_there_are_no_attributes_that_is_the_answer():
    # The kernel's own file systems have none.
    assert filesystem.get_attribute("/proc/self/status", "upload") is None
    assert filesystem.set_attribute("/proc/self/status", "upload", b"id") is False


def test_looking_for_attributes_leaves_nothing_behind(directory):
    filesystem.supports_attributes(directory)

    assert os.listdir(directory) == []


class TestDurability:
    @pytest.mark.parametrize("without_libc", [False, True])
    def test_files_and_directories_can_be_synced(self, directory, monkeypatch, without_libc):
        if without_libc:
            monkeypatch.setattr(filesystem, "_libc", None)
        with open(write(directory, "a"), "rb") as stream:
            filesystem.sync_filesystem(stream.fileno(), [stream.fileno()])
        filesystem.fsync_directory(directory)
        fd = os.open(directory, os.O_RDONLY)
        try:
            filesystem.fsync_directory(fd)
        finally:
            os.close(fd)

    @linux
    def test_a_failed_sync_of_a_file_system_raises(self):
        with pytest.raises(OSError, match="syncfs") as raised:
            filesystem.sync_filesystem(-1)
        assert raised.value.errno == errno.EBADF

    def test_hints_about_the_cache_can_be_given(self, directory):
        with open(write(directory, "a"), "rb") as stream:
            filesystem.will_read_once(stream.fileno())
            filesystem.drop_from_cache(stream.fileno(), 0, 0)


def test_modification_times_are_set_to_the_nanosecond(directory):
    path = write(directory, "a")
    with open(path, "r+b") as stream:
        filesystem.set_times(stream.fileno(), path, 1_700_000_000_123_456_700)

    assert os.stat(path).st_mtime_ns == 1_700_000_000_123_456_700


@pytest.mark.skipif(os.name == "nt", reason="Windows makes them up")
def test_permission_bits_are_the_nine(directory):
    path = write(directory, "a")
    os.chmod(path, 0o4751)

    assert filesystem.permission_bits(os.stat(path)) == 0o751


MOUNTS = r"""22 28 0:20 / /proc rw,nosuid - proc proc rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 28 0:41 / /data rw,relatime shared:5 - nfs4 server:/export rw,vers=4.2
41 40 0:42 / /data/my\040disk rw - fuse.sshfs me@host:/ rw
42 28 0:43 / /database rw - xfs /dev/vdb rw
43 40 0:44 / /data/over rw - ext4 /dev/vdc rw
44 43 0:45 / /data/over rw - tmpfs tmpfs rw
"""


class TestFileSystemType:
    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/", "ext4"),
            ("/home/me", "ext4"),
            ("/data", "nfs4"),
            ("/data/a/b", "nfs4"),
            ("/data/my disk/x", "fuse.sshfs"),
            ("/database/x", "xfs"),
            ("/dataset/x", "ext4"),
            ("/data/over/x", "tmpfs"),
        ],
    )
    def test_is_that_of_the_deepest_and_latest_mount(self, path, kind):
        assert filesystem_type_in(MOUNTS, path) == kind

    @linux
    def test_of_this_machine(self, directory):
        assert filesystem.filesystem_type("/proc/self") == "proc"
        assert filesystem.filesystem_type(directory)

    @linux
    def test_links_are_followed(self, directory):
        os.symlink("/proc", os.path.join(directory, "link"))

        assert filesystem.filesystem_type(os.path.join(directory, "link")) == "proc"

    @pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "fuse.sshfs", "virtiofs"])
    def test_others_may_write_to_remote_ones_unnoticed(self, kind):
        assert is_remote(kind)

    @pytest.mark.parametrize("kind", ["ext4", "xfs", "overlay", "tmpfs", "fuseblk", None])
    def test_local_ones_tell_of_every_change(self, kind):
        assert not is_remote(kind)


def test_the_clock_only_goes_forward():
    first = filesystem.boottime()

    assert filesystem.boottime() >= first


class TestFileLock:
    def test_only_one_may_hold_it_and_the_other_learns_who(self, directory):
        path = os.path.join(directory, "lock")
        with (
            FileLock(path, owner="penstock watch, process 1, host a"),
            pytest.raises(StateError, match="is locked by penstock watch, process 1, host a: only one"),
        ):
            FileLock(path, owner="another")

    def test_it_can_be_taken_again_after_release(self, directory):
        path = os.path.join(directory, "lock")
        lock = FileLock(path, owner="a longer name")
        lock.release()
        lock.release()

        with FileLock(path, owner="b"):
            assert read(path) == b"b\n"

    def test_it_goes_with_the_process_however_that_ends(self, directory):
        path = os.path.join(directory, "lock")
        program = (
            "import os, sys; from servicekit.filesystem import FileLock; "
            "lock = FileLock(sys.argv[1], owner='child'); print('held', flush=True); sys.stdin.read()"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(StateError, match="by child"):
            FileLock(path, owner="me")

        child.kill()
        child.communicate()

        FileLock(path, owner="me").release()

    def test_where_it_cannot_be_opened_that_is_said(self, directory):
        with pytest.raises(StateError, match="cannot be opened"):
            FileLock(os.path.join(directory, "no", "lock"), owner="me")

    @pytest.mark.skipif(os.name == "nt", reason="no O_NOFOLLOW there")
    def test_a_link_is_not_followed(self, directory):
        target = write(directory, "precious", b"content")
        os.symlink(target, os.path.join(directory, "lock"))

        with pytest.raises(StateError):
            FileLock(os.path.join(directory, "lock"), owner="me")
        assert read(target) == b"content"

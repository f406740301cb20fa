"""What is in a directory: the files that an uploader would send, their digests, what could not be read."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from blake3 import blake3

from penstock.progress import Board
from penstock.verification import hashing
from penstock.verification.hashing import Hashed, hashed_files
from servicekit.globs import PathFilter


def found(root, below: str = "", observer: Board | None = None, **globs) -> dict[str, Hashed]:
    files = hashed_files(str(root), below, PathFilter(**globs), observer or Board("checked"))
    return {file.path: file for file in files}


def test_each_file_has_the_digest_that_b3sum_prints(tmp_path):
    contents = {"empty": b"", "one": b"1", "large": os.urandom(3 * hashing.BLOCK + 1), "sub/deep/file": b"x"}
    for path, content in contents.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert {path: (file.size, file.digest) for path, file in found(tmp_path).items()} == {
        path: (len(content), blake3(content).hexdigest()) for path, content in contents.items()
    }


def test_only_what_an_uploader_would_send_is_read(tmp_path):
    for path in ("a.raw", "b.tmp", "tmp/c.raw", ".hidden.raw", ".penstock/uploader/ledger.raw"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    if sys.platform != "win32":
        (tmp_path / "link.raw").symlink_to("a.raw")
        os.mkfifo(tmp_path / "pipe.raw")
    assert found(tmp_path, include=["*.raw"], exclude=["tmp/**"]).keys() == {"a.raw", ".hidden.raw"}


def test_below_a_root_paths_and_globs_are_relative_to_the_root(tmp_path):
    (tmp_path / "run" / "1").mkdir(parents=True)
    (tmp_path / "other").touch()
    for name in ("a", "b"):
        (tmp_path / "run" / "1" / name).touch()
    assert found(tmp_path, "run/1", exclude=["run/1/b"]).keys() == {"run/1/a"}


def test_more_files_than_are_read_ahead_all_come_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(hashing, "AHEAD", 5)
    for number in range(57):
        (tmp_path / f"{number}").write_bytes(bytes([number]))
    files = found(tmp_path)
    assert len(files) == 57
    assert files["56"].digest == blake3(b"8").hexdigest()


class Meddler(Board):
    """Does something to a file while it is read."""

    def __init__(self, act) -> None:
        super().__init__("checked")
        self.act = act

    def progress(self, name: str, done: int, size: int, note: str = "") -> None:
        act, self.act = self.act, lambda: None
        act()


def test_a_file_that_changes_while_it_is_read_is_said_to_change(tmp_path):
    file = tmp_path / "growing"
    file.write_bytes(b"x" * 2 * hashing.BLOCK)

    def grow() -> None:
        with file.open("ab") as stream:
            stream.write(b"more")

    seen = found(tmp_path, observer=Meddler(grow))["growing"]
    assert seen.changing
    assert seen.digest is None
    assert "changed while" in seen.problem


@contextmanager
def permissions_that_bind() -> Iterator[Path]:
    """A directory of its own, and a user whom permissions bind: nobody in root's place."""
    with TemporaryDirectory() as directory:
        nobody = 65534 if os.geteuid() == 0 else os.geteuid()
        os.chown(directory, nobody, -1)
        os.seteuid(nobody)
        try:
            yield Path(directory)
        finally:
            os.seteuid(os.getuid())


@pytest.mark.skipif(sys.platform == "win32", reason="has no permission bits")
def test_what_cannot_be_read_is_named():
    with permissions_that_bind() as directory:
        (directory / "secret").write_bytes(b"x")
        (directory / "secret").chmod(0)
        (directory / "closed").mkdir(0)
        files = found(directory)
        (directory / "closed").chmod(0o700)
    assert "Permission denied" in files["secret"].problem
    assert files["closed"].problem == "directory cannot be read: Permission denied"


def test_a_file_that_is_a_link_by_the_time_it_is_opened_is_not_followed(tmp_path):
    (tmp_path / "target").write_bytes(b"x")
    (tmp_path / "link").symlink_to("target")
    from penstock_uploader.watch import Sighting
    from servicekit.filesystem import Fingerprint

    sighting = Sighting("link", Fingerprint(1, 0, 0, 0))
    seen = hashing._hash(str(tmp_path), sighting, Board("checked"), threading.Event())
    assert seen is not None
    assert seen.digest is None


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="reads /dev/zero")
def test_a_large_file_is_given_up_in_the_middle_when_nobody_wants_to_know():
    stop = threading.Event()
    stop.set()
    with open("/dev/zero", "rb", buffering=0) as endless, pytest.raises(hashing.Interrupted):
        hashing._digest(endless.readinto, "endless", 1 << 40, Board("checked"), stop)


def test_who_stops_asking_leaves_no_thread_behind(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}").write_bytes(b"x" * 1000)
    files = hashed_files(str(tmp_path), "", PathFilter(), Board("checked"))
    next(files)
    files.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("hash")]

"""Removing source files, on real ones, killed at every step."""

import os
import subprocess
import sys
import threading

import pytest
from blake3 import blake3

from chunkproto import next_upload_id
from penstock_uploader.disposal import Disposal, DisposalThread, Disposer, Fate
from servicekit.filesystem import Fingerprint

VERSION = next_upload_id(1, 1, None)


def sent(root, path: str = "d/a", action: str = "delete", target: str | None = None) -> Disposal:
    full = root / path
    fingerprint = Fingerprint.of(full.stat())
    return Disposal(VERSION, path, action, target, fingerprint, blake3(full.read_bytes()).digest())


@pytest.fixture
def root(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"content")
    return tmp_path


def nothing_aside(root) -> bool:
    aside = root / ".penstock" / "uploader" / "aside"
    return not aside.exists() or os.listdir(aside) == []


def test_a_file_that_is_what_was_sent_is_deleted(root):
    assert Disposer(str(root)).dispose(sent(root)).fate is Fate.DONE
    assert os.listdir(root / "d") == []
    assert nothing_aside(root)


def test_a_file_is_moved_and_replaces_nothing(root, tmp_path_factory):
    target = root / "target" / "d" / "a"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"was here")
    assert Disposer(str(root)).dispose(sent(root, action="move", target=str(target))).fate is Fate.DONE
    assert target.read_bytes() == b"was here"
    [kept] = [name for name in os.listdir(target.parent) if name != "a"]
    assert (target.parent / kept).read_bytes() == b"content"


def change_bytes(root):
    status = (root / "d" / "a").stat()
    (root / "d" / "a").write_bytes(b"CONTENT")
    os.utime(root / "d" / "a", ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(root):
    status = (root / "d" / "a").stat()
    (root / "d" / "other").write_bytes(b"content")
    os.utime(root / "d" / "other", ns=(status.st_atime_ns, status.st_mtime_ns))
    (root / "d" / "other").rename(root / "d" / "a")


def touch(root):
    os.utime(root / "d" / "a", ns=(1, 1))


def append(root):
    with (root / "d" / "a").open("ab") as file:
        file.write(b"!")


@pytest.mark.parametrize("change", [change_bytes, replace, touch, append])
def test_a_file_that_is_not_what_was_sent_stays(root, change):
    disposal = sent(root)
    change(root)
    before = (root / "d" / "a").read_bytes()
    assert Disposer(str(root)).dispose(disposal).fate is Fate.CHANGED
    assert (root / "d" / "a").read_bytes() == before
    assert nothing_aside(root)


def test_a_chmod_does_not_keep_it(root):
    disposal = sent(root)
    (root / "d" / "a").chmod(0o600)
    assert Disposer(str(root)).dispose(disposal).fate is Fate.DONE


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_file_that_somebody_still_has_open_for_writing_stays(root):
    disposal = sent(root)
    with (root / "d" / "a").open("ab"):
        assert Disposer(str(root)).dispose(disposal).fate is Fate.BUSY
    assert (root / "d" / "a").read_bytes() == b"content"


def test_a_file_that_is_gone_is_no_trouble(root):
    disposal = sent(root)
    (root / "d" / "a").unlink()
    assert Disposer(str(root)).dispose(disposal).fate is Fate.GONE


def test_what_took_the_place_of_a_changed_file_is_not_replaced(root):
    disposal = sent(root)
    aside = root / ".penstock" / "uploader" / "aside" / VERSION.hex() / "d"
    aside.mkdir(parents=True)
    (root / "d" / "a").rename(aside / "a")
    with (aside / "a").open("ab") as file:  # by someone who had it open before
        file.write(b" and more")
    (root / "d" / "a").write_bytes(b"new")
    done = Disposer(str(root)).dispose(disposal)
    assert done.fate is Fate.DISPLACED
    assert (root / "d" / "a").read_bytes() == b"new"
    [kept] = [name for name in os.listdir(root / "d") if name != "a"]
    assert (root / "d" / kept).read_bytes() == b"content and more"
    assert kept in done.detail
    assert nothing_aside(root)


def test_a_name_of_255_bytes_can_still_be_kept_under_another(root):
    name = "n" * 255
    (root / "d" / "a").rename(root / "d" / name)
    disposal = sent(root, f"d/{name}")
    aside = root / ".penstock" / "uploader" / "aside" / VERSION.hex() / "d"
    aside.mkdir(parents=True)
    (root / "d" / name).rename(aside / name)
    (aside / name).write_bytes(b"changed")
    (root / "d" / name).write_bytes(b"new")
    assert Disposer(str(root)).dispose(disposal).fate is Fate.DISPLACED
    assert len(os.listdir(root / "d")) == 2


SCRIPT = """
import pickle, sys
from penstock_uploader.disposal import Disposer
root, disposal = pickle.load(sys.stdin.buffer)
Disposer(root).dispose(disposal)
"""


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("action", ["delete", "move"])
@pytest.mark.parametrize("step", ["aside", "removed", "moved", "back"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step_it_is_brought_to_an_end_and_nothing_is_lost(root, action, step, when, changed):
    import pickle

    target = root / "target" / "d" / "a"
    disposal = sent(root, action=action, target=str(target) if action == "move" else None)
    if changed:
        change_bytes(root)
    subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=pickle.dumps((str(root), disposal)),
        env={**os.environ, "PENSTOCK_CRASH_AT": f"uploader.dispose.{step}.{when}"},
        check=False,
    )
    Disposer(str(root)).dispose(disposal)
    here = (root / "d" / "a").read_bytes() if (root / "d" / "a").exists() else None
    there = target.read_bytes() if target.exists() else None
    if changed:
        assert here == b"CONTENT"
    else:
        assert here is None
        assert there == (b"content" if action == "move" else None)
    assert nothing_aside(root)


def test_what_lies_aside_without_an_intent_comes_back(root):
    aside = root / ".penstock" / "uploader" / "aside" / VERSION.hex() / "x" / "y"
    aside.mkdir(parents=True)
    (aside / "z").write_bytes(b"z")
    disposer = Disposer(str(root))
    assert disposer.put_orphans_back({VERSION}) == []
    assert disposer.put_orphans_back(set()) == ["x/y/z"]
    assert (root / "x" / "y" / "z").read_bytes() == b"z"
    assert nothing_aside(root)


def test_a_stop_puts_back_what_takes_too_long_to_compare(tmp_path):
    class Endless(Disposer):
        """Compares for as long as it is not interrupted: any file is too large for a hash at a stop."""

        def _compare(self, aside, disposal):
            comparing.set()
            assert self.interrupted.wait(30)
            return super()._compare(aside, disposal)

    comparing = threading.Event()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"content")
    thread = DisposalThread(Endless(str(tmp_path)), lambda: None)
    thread.put(sent(tmp_path))
    assert comparing.wait(30)
    thread.stop(0.1)
    assert (tmp_path / "d" / "a").read_bytes() == b"content"
    assert nothing_aside(tmp_path)

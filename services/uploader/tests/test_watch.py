"""Watching a real directory."""

import logging
import os
import sys
import threading
import time

import pytest

from penstock_uploader.watch import ScanDone, Seen, Sighting, Unreadable, Watch, is_reserved, walk
from servicekit.globs import PathFilter


class Collected:
    """A watch, and all that it has found."""

    def __init__(self, root, **given):
        self.woken = threading.Event()
        options = {"polling": False, "scan_interval": 600.0, "polling_interval": 0.05} | given
        self.watch = Watch(str(root), PathFilter([], ["skipped"]), wake=self.woken.set, **options)
        self.closed: list[str] = []
        self.touched: list[str] = []
        self.sighted: list[str] = []
        self.scans: list[ScanDone] = []

    def __enter__(self):
        self.watch.start()
        self.until(lambda: self.scans)
        return self

    def __exit__(self, *_):
        self.watch.stop()

    def until(self, condition, timeout=20):
        deadline = time.monotonic() + timeout
        while not condition():
            for path, seen in self.watch.events(1000):
                (self.closed if seen is Seen.CLOSED else self.touched).append(path)
            while (found := self.watch.found()) is not None:
                if isinstance(found, ScanDone):
                    self.scans.append(found)
                elif not isinstance(found, Unreadable):
                    self.sighted += [sighting.path for sighting in found]
            assert time.monotonic() < deadline, (self.closed, self.touched, self.sighted, self.scans)
            self.woken.wait(0.05)
            self.woken.clear()


linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify")


@linux
def test_a_file_is_known_as_soon_as_it_is_closed(tmp_path):
    with Collected(tmp_path) as seen:
        (tmp_path / "a").write_bytes(b"a")
        seen.until(lambda: "a" in seen.closed)


@linux
def test_a_file_moved_in_is_as_good_as_closed(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").write_bytes(b"o")
    with Collected(root) as seen:
        (tmp_path / "outside").rename(root / "moved")
        seen.until(lambda: "moved" in seen.closed)
        (root / "moved").rename(root / "renamed")
        seen.until(lambda: "renamed" in seen.closed)


@linux
def test_a_tree_that_is_moved_in_is_scanned(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "tree" / "x").mkdir(parents=True)
    (tmp_path / "tree" / "x" / "a").write_bytes(b"a")
    with Collected(root) as seen:
        (tmp_path / "tree").rename(root / "tree")
        seen.until(lambda: "tree/x/a" in seen.sighted)


@linux
def test_a_lost_event_leads_to_a_scan(tmp_path):
    with Collected(tmp_path) as seen:
        logging.getLogger("watchdog.observers.inotify_c").warning(
            "Inotify queue overflowed; filesystem events were lost"
        )
        seen.until(lambda: len(seen.scans) >= 2)


@linux
def test_a_directory_that_is_removed_and_made_again_is_watched_again(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    with Collected(root, scan_interval=0.1) as seen:
        root.rename(tmp_path / "gone")
        root.mkdir()
        known = len(seen.scans)
        seen.until(lambda: len(seen.scans) >= known + 3)
        (root / "a").write_bytes(b"a")
        seen.until(lambda: "a" in seen.closed)


def test_polling_sees_all_without_any_event(tmp_path):
    with Collected(tmp_path, polling=True) as seen:
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "a").write_bytes(b"a")
        seen.until(lambda: "d/a" in seen.sighted)
        assert seen.closed == []


def test_a_scan_that_was_asked_for_begins_after_the_question(tmp_path):
    with Collected(tmp_path) as seen:
        (tmp_path / "a").write_bytes(b"a")
        ticket = seen.watch.request_scan()
        seen.until(lambda: any(scan.ticket >= ticket for scan in seen.scans))
        assert "a" in seen.sighted


def test_links_reserved_names_and_what_is_excluded_are_left_out(tmp_path):
    for path in ("a", "d/b", ".penstock/x", "d/.Penstock/y", "skipped/c"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "dirlink").symlink_to(tmp_path / "d")
    os.mkfifo(tmp_path / "pipe")
    found = [item.path for item in walk(str(tmp_path), "", PathFilter([], ["skipped"]))]
    assert sorted(found) == ["a", "d/b"]
    assert is_reserved("a/.PENSTOCK/b")
    assert not is_reserved("a/x.penstock")


def test_a_root_that_is_gone_is_told(tmp_path):
    [item] = walk(str(tmp_path / "nowhere"))
    assert isinstance(item, Unreadable)
    assert not isinstance(item, Sighting)

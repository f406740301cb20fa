import os
import time

import pytest

from penstock_uploader.reading import open_beneath, read_exactly, seconds_until_tick_over
from servicekit.filesystem import Fingerprint


def test_a_file_is_opened_below_the_root(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"abc")
    opened = open_beneath(str(tmp_path), "a/b/c")
    try:
        assert opened.fingerprint.size == 3
        assert read_exactly(opened.fd, 2, 1) == b"bc"
        assert read_exactly(opened.fd, 10, 0) == b"abc"
    finally:
        os.close(opened.fd)


@pytest.mark.parametrize("link", ["a/link", "dirlink/c", "a/dirlink/c"])
def test_no_symbolic_link_is_followed_wherever_it_is(tmp_path, link):
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    outside.mkdir()
    (outside / "c").write_bytes(b"secret")
    (root / "a" / "link").symlink_to(outside / "c")
    (root / "dirlink").symlink_to(outside)
    (root / "a" / "dirlink").symlink_to(outside)
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        open_beneath(str(root), link)


def test_a_pipe_does_not_hold_us_up(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        open_beneath(str(tmp_path), "pipe")


def test_a_file_changed_within_this_tick_waits_for_the_next_one():
    now = time.time()

    def changed(seconds_ago: float) -> Fingerprint:
        return Fingerprint(1, 0, int((now - seconds_ago) * 1e9), 1)

    assert 0 < seconds_until_tick_over(changed(0.001), now) <= 0.012
    assert 0 < seconds_until_tick_over(changed(-0.005), now) <= 0.024
    assert seconds_until_tick_over(changed(1), now) == 0
    assert seconds_until_tick_over(changed(-3600), now) == 0

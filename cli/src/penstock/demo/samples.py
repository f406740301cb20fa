"""The files that the demo writes: what an instrument's directory looks like on a bad day."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SMALL_FILES = 200
LARGE_FILES = 2
LARGE_SIZE = 64 * 1024 * 1024
APPENDED = "still-growing.log"
"""The file that is appended to while it is watched."""
APPENDED_LINES = 40

_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    """One file to write: a relative path as os functions take it, and its size in bytes."""

    path: str
    size: int


def samples() -> list[Sample]:
    """Return what is written, but for the file that grows."""
    # Always the same sizes: two runs of the demo can be compared.
    sizes = random.Random(20260131)
    found = [
        Sample(f"run-{1 + n // 50}/frames/frame-{n:04}.tif", sizes.randrange(2_000, 60_000))
        for n in range(SMALL_FILES)
    ]
    found += [Sample(f"run-{n + 1}/volume-{n + 1}.raw", LARGE_SIZE) for n in range(LARGE_FILES)]
    found += [
        Sample("run-1/spectrum.raw", 5_000_001),
        Sample("run-1/notes.txt", 1_203),
        Sample("run-2/empty.marker", 0),
        Sample("run-2/one-byte", 1),
        Sample("run-2/exactly-one-chunk.bin", 512 * 1024),
        Sample("run-2/one-byte-more.bin", 512 * 1024 + 1),
        Sample("/".join(["deep"] * 20) + "/at-the-bottom.dat", 4_096),
        Sample("odd names/with spaces; and a semicolon.txt", 321),
        Sample("odd names/Größe µm 測定 🔬.csv", 4_321),
        Sample("odd names/[bold]not markup[bold].txt", 77),
    ]
    if sys.platform != "win32":
        found.append(Sample("odd names/two\nlines and a \x1b[31mred\x1b[0m tab\t.txt", 99))
    if sys.platform == "linux":  # macOS refuses what is not UTF-8
        found.append(Sample("odd names/" + os.fsdecode(b"latin-1 \xe4\xf6\xfc.dat"), 555))
    return found


def write(directory: Path, sample: Sample) -> None:
    """Write a sample's file: random bytes, so that nothing along the way can cheat by compressing them."""
    target = os.path.join(directory, *sample.path.split("/"))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        left = sample.size
        while left:
            left -= file.write(os.urandom(min(left, _BLOCK)))


def grow(directory: Path) -> Iterator[int]:
    """Append to one file, a line at each step, through one handle, as a logger does; yield lines so far."""
    with open(os.path.join(directory, APPENDED), "w", encoding="ascii") as file:
        for line in range(1, APPENDED_LINES + 1):
            file.write(f"{line:04} the laser is at {random.uniform(20, 21):.3f} degrees\n")
            file.flush()
            yield line


def files_below(directory: str) -> tuple[list[str], int]:
    """Return the relative paths (POSIX) of all regular files, and how many other things were left out.

    Links are left out (the uploader does not follow them either way: see docs/wire.md), sockets and the like,
    and what is Penstock's own.
    """
    found: list[str] = []
    left_out = 0
    directories = [""]
    while directories:
        below = directories.pop()
        with os.scandir(os.path.join(directory, below)) as entries:
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != ".penstock":
                        directories.append(path)
                elif entry.is_file(follow_symlinks=False):
                    found.append(path)
                else:
                    left_out += 1
    return sorted(found), left_out

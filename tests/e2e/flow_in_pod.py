"""Who writes files and who looks at what arrives, run in a pod: `python -c THIS write|watch DIRECTORY...`.

Each says what it does in lines of JSON on standard output, one per file.
"""

import hashlib
import itertools
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator

import blake3

PAUSE_SECONDS = 0.08
LOOK_SECONDS = 0.02
SMALL = (1_000, 4_096, 0, 60_000, 300_001, 1_024, 1, 100_000, 20_000, 1_000_000)
LARGE = ((200, 50_000_000), (100, 20_000_000), (20, 5_000_000))
"""Every so many files one of so many bytes."""


def write(source: str, aside: str, end: str, first: str) -> None:
    """Write files one after the other until there is a file `end`.

    With `first`, a number of bytes, the first one is so large, and all others are small. What a file holds is
    said before anybody can see it. Small ones are in part written where they are watched; all others come
    there whole, from `aside`.
    """
    for number in itertools.count(1):
        size = next((size for every, size in LARGE if number % every == 0), SMALL[number % len(SMALL)])
        if int(first):
            size = int(first) if number == 1 else min(size, 10_000)
        content = os.urandom(size)
        path = pathlib.Path(f"{number % 7}/{number:04}.raw")
        say(path, content)
        place = source / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if size < 100_000 and number % 2:
            place.write_bytes(content)
        else:
            pathlib.Path(aside, path.name).write_bytes(content)
            os.rename(pathlib.Path(aside, path.name), place)
        if os.path.exists(end):
            return
        time.sleep(PAUSE_SECONDS)


def watch(destination: str) -> None:
    """Read each file that appears or is replaced, whenever that happens."""
    known: dict[str, tuple[int, int, int]] = {}
    while True:
        there = dict(files(destination))
        for path in known.keys() - there.keys():
            del known[path]
            print(json.dumps({"path": path, "gone": True}), flush=True)
        for path, identity in there.items():
            if known.get(path) != identity:
                with open(os.path.join(destination, path), "rb") as file:
                    known[path] = identify(os.fstat(file.fileno()))
                    say(path, file.read())
        time.sleep(LOOK_SECONDS)


def files(directory: str) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Relative paths and what tells a file from the one that was there before."""
    for place, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if name != ".penstock"]
        for name in names:
            path = os.path.join(place, name)
            yield os.path.relpath(path, directory), identify(os.stat(path))


def identify(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def say(path: object, content: bytes) -> None:
    told = {
        "path": str(path),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "blake3": blake3.blake3(content).hexdigest(),
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    {"write": write, "watch": watch}[sys.argv[1]](*sys.argv[2:])

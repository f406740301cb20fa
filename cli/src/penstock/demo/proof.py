"""The demo's own proof: it reads source and destination again, and trusts nobody's word about them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from blake3 import blake3

HAS_MODES = sys.platform != "win32"
"""Whether permission bits are compared, too: Windows has none."""

_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Proof:
    """What was found out about one file."""

    path: str
    """Relative, POSIX."""
    size: int
    """At the source, in bytes."""
    digest: str
    """BLAKE3 of the source file, hexadecimal; empty if it could not be read."""
    problem: str | None
    """Why it is not proved to have arrived; None if it is."""


def prove(source: str, destination: str, path: str) -> Proof:
    """Compare a file at the source with that at the destination: bytes (BLAKE3), mtime, permission bits."""
    here, there = os.path.join(source, path), os.path.join(destination, path)
    try:
        expected, status = digest(here)
    except OSError as error:
        return Proof(path, 0, "", f"cannot be read at the source: {error.strerror}")
    try:
        found, arrived = digest(there)
    except FileNotFoundError:
        return Proof(path, status.st_size, expected, "it is not at the destination")
    except OSError as error:
        return Proof(path, status.st_size, expected, f"cannot be read at the destination: {error.strerror}")
    problem = None
    if found != expected:
        problem = f"its content differs: {status.st_size} bytes were sent, {arrived.st_size} arrived"
    elif arrived.st_mtime_ns != status.st_mtime_ns:
        problem = f"its mtime differs by {arrived.st_mtime_ns - status.st_mtime_ns} ns"
    elif HAS_MODES and (arrived.st_mode ^ status.st_mode) & 0o777:
        problem = f"its mode is {arrived.st_mode & 0o777:o}, not {status.st_mode & 0o777:o}"
    return Proof(path, status.st_size, expected, problem)


def digest(file: str) -> tuple[str, os.stat_result]:
    """Return the BLAKE3 of a file, and what fstat() says of the file that was read."""
    hasher = blake3()
    with open(file, "rb") as stream:
        while block := stream.read(_BLOCK):
            hasher.update(block)
        return hasher.hexdigest(), os.fstat(stream.fileno())


def seems_arrived(source: str, destination: str, path: str) -> bool:
    """Whether size and mtime agree: the downloader sets the time before a file gets its name."""
    try:
        here, there = os.stat(os.path.join(source, path)), os.stat(os.path.join(destination, path))
    except OSError:
        return False
    return (here.st_size, here.st_mtime_ns) == (there.st_size, there.st_mtime_ns)

"""Paths as they travel: relative, POSIX, any bytes.

In Python a path is a `str` as `os.fsdecode` gives it on POSIX: UTF-8 with `surrogateescape`, so that names
which are not UTF-8 keep their bytes. On the wire it is always its bytes.
"""

import unicodedata

from chunkproto.exceptions import InvalidRecord

MAX_PATH_BYTES = 4096
"""Linux' PATH_MAX: no system that we write to takes a longer one."""

RESERVED_NAME = ".penstock"
"""The directory in which a source or destination keeps its state; no wire path may touch it."""

_WINDOWS_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{device}{digit}" for device in ("com", "lpt") for digit in "0123456789¹²³"]
)
_WINDOWS_FORBIDDEN = frozenset('<>:"\\|?*') | {chr(code) for code in range(32)}


def encode_path(path: str) -> bytes:
    """Give the bytes of a path; raises InvalidRecord for text that no file name can be."""
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidRecord(f"path {path!r} cannot be encoded: {error.reason}") from error


def decode_path(raw: bytes) -> str:
    """Give the text of a path's bytes; never fails, and `encode_path` gives the bytes back."""
    return raw.decode("utf-8", "surrogateescape")


def path_problem(path: str) -> str | None:
    """Say why a path may not travel, or None if it may.

    This judges the text alone. A destination must also walk the directories without following symbolic
    links, for what the text cannot show.
    """
    if not path:
        return "it is empty"
    if "\0" in path:
        return "it contains a NUL"
    if path.startswith("/"):
        return "it is absolute"
    if len(encode_path(path)) > MAX_PATH_BYTES:
        return f"it is longer than {MAX_PATH_BYTES} bytes"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return f"it has the component {part!r}"
        if part.lower() == RESERVED_NAME:
            return f"{RESERVED_NAME} is reserved for Penstock's own state"
    return None


def portability_problem(path: str) -> str | None:
    """Say why a safe path cannot exist on Windows or macOS, or None if it can.

    Windows: https://learn.microsoft.com/windows/win32/fileio/naming-a-file (reserved characters and
    device names, trailing dots and spaces). macOS: names must be valid Unicode.
    """
    for part in path.split("/"):
        if any("\ud800" <= character <= "\udfff" for character in part):
            return f"{part!r} is not valid Unicode"
        forbidden = sorted(_WINDOWS_FORBIDDEN.intersection(part))
        if forbidden:
            return f"{part!r} contains {forbidden[0]!r}"
        if part[-1] in ". ":
            return f"{part!r} ends in {part[-1]!r}"
        if part.split(".")[0].rstrip(" ").lower() in _WINDOWS_DEVICES:
            return f"{part!r} is the name of a device"
    return None


def collision_key(name: str) -> str:
    """Give what two names share when a case- and normalisation-insensitive file system takes them for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())

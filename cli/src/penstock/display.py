"""How file names, sizes and durations are shown to people, and file names in JSON to programs.

A file name may hold anything but NUL and `/`: line breaks, escape sequences, markup, bytes that are no text.
Everything that reaches a terminal goes through `shown` (and into Rich as Text, never as markup).
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Mapping
from typing import Any


def shown(name: str) -> str:
    r"""Return a name on one line, harmless to a terminal: what cannot be printed is escaped (\n, \xff)."""
    if name.isprintable():
        return name
    return "".join(character if character.isprintable() else _escape(character) for character in name)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that is not UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def shortened(name: str, columns: int) -> str:
    """Return `shown(name)` in at most this many columns: the middle goes, for both ends say something."""
    text = shown(name)
    if width(text) <= columns:
        return text
    tail_columns = max(1, (columns - 1) * 2 // 3)
    head, tail = "", ""
    for character in reversed(text):
        if width(character + tail) > tail_columns:
            break
        tail = character + tail
    for character in text:
        if width(head + character) > columns - 1 - width(tail):
            break
        head += character
    return f"{head}…{tail}"


def width(text: str) -> int:
    """Return the columns that text takes in a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def json_name(name: str, key: str = "path") -> dict[str, str]:
    """Return a name for JSON: `path`; and `path_base64`, which is exact, if it is not UTF-8.

    The same convention as in Penstock's events.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "surrogateescape")
        return {key: raw.decode("utf-8", "replace"), f"{key}_base64": base64.b64encode(raw).decode("ascii")}
    return {key: name}


def name_from_json(described: Mapping[str, Any], key: str = "path") -> str:
    """Return the exact name that `json_name` has described."""
    if f"{key}_base64" in described:
        return base64.b64decode(described[f"{key}_base64"]).decode("utf-8", "surrogateescape")
    return str(described[key])


def size(number: float) -> str:
    """Return bytes as people read them: `512 B`, `1.5 MiB`."""
    if number < 1024:
        return f"{number:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        number /= 1024
        if number < 999.95 or unit == "TiB":
            break
    return f"{number:.1f} {unit}"


def rate(bytes_per_second: float) -> str:
    """Return a speed in MB/s (10^6 bytes), as networks and disks are sold."""
    megabytes = bytes_per_second / 1e6
    return f"{megabytes:.0f} MB/s" if megabytes >= 9.95 else f"{megabytes:.1f} MB/s"


def seconds(duration: float) -> str:
    """Return a duration: `0.12 s`, `4.2 s`, `3:07 min`."""
    if duration < 0.995:
        return f"{duration:.2f} s"
    if duration < 99.95:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"


def span(duration: float) -> str:
    """Return how long ago something was, as the registry's page says it: `3 s`, `5 min`, `2 h`, `4 d`."""
    if duration < 90:
        return f"{max(0, int(duration))} s"
    if duration < 90 * 60:
        return f"{round(duration / 60)} min"
    if duration < 36 * 3600:
        return f"{round(duration / 3600)} h"
    return f"{round(duration / 86400)} d"


def count(number: int, noun: str) -> str:
    """Return `1 file`, `1 203 files`: thousands apart by a narrow space, which no decimal mark looks like."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") + f" {noun}{'' if number == 1 else 's'}"


def reason(word: str | None, sentence: str | None) -> str:
    """Return why something was rejected or failed: its code in words, `too large`, and what else was said."""
    return ": ".join(part for part in ((word or "").replace("-", " "), sentence) if part)


def normalized(name: str) -> str:
    """Return a name by which two spellings of the same letters sort together."""
    return unicodedata.normalize("NFC", name)

"""Globs on relative POSIX paths, the same at the source and at the destination.

- `*.raw` (no slash): the name of a file or of any directory above it;
- `run1/*.raw` (a slash): the path from the root, `*` and `?` never crossing a slash;
- `**` crosses slashes: `**/raw/*.dat`, `run1/**`;
- `[abc]`, `[!abc]`: one character.

A pattern that matches a directory matches all that is in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from servicekit.exceptions import ConfigurationError


class PathFilter:
    """Which paths are wanted: those that any `include` matches (none given: all), but no `exclude`."""

    def __init__(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        """Raise ConfigurationError for a pattern that can match nothing."""
        self._include = _any_of(include)
        self._exclude = _any_of(exclude)

    def wants(self, path: str) -> bool:
        """Whether the file at this relative path is wanted."""
        if self._include is None and self._exclude is None:
            return True
        ways = list(_ways_to_match(path))
        if self._include is not None and not any(map(self._include, ways)):
            return False
        return self._exclude is None or not any(map(self._exclude, ways))

    def excludes_directory(self, path: str) -> bool:
        """Whether nothing below this directory can be wanted, so that nobody needs to look."""
        return self._exclude is not None and any(map(self._exclude, _ways_to_match(path)))


def _ways_to_match(path: str) -> Iterable[str]:
    """Yield the path and its ancestors from the root (as `/a/b`), and each name alone (as `b`)."""
    parts = path.split("/")
    yield from parts
    for end in range(1, len(parts) + 1):
        yield "/" + "/".join(parts[:end])


def _any_of(patterns: Iterable[str]) -> Callable[[str], object] | None:
    translated = [_translate(pattern) for pattern in patterns]
    return re.compile("|".join(translated), re.DOTALL).fullmatch if translated else None


def _translate(pattern: str) -> str:
    body = pattern.rstrip("/")
    if not body:
        raise ConfigurationError(f"the glob {pattern!r} matches nothing")
    anchored = "/" in body
    body = body.lstrip("/")
    result = "/" if anchored else ""
    position = 0
    while position < len(body):
        if body.startswith("**/", position):
            result += "(?:.*/)?"
            position += 3
        elif body.startswith("**", position):
            result += ".*"
            position += 2
        elif body[position] == "*":
            result += "[^/]*"
            position += 1
        elif body[position] == "?":
            result += "[^/]"
            position += 1
        elif body[position] == "[" and (end := body.find("]", position + 2)) > 0:
            inside = body[position + 1 : end]
            negated = inside.startswith(("!", "^"))
            inside = inside[negated:].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            result += f"(?!/)[{'^' if negated else ''}{inside}]"
            position = end + 1
        else:
            result += re.escape(body[position])
            position += 1
    try:
        re.compile(result)
    except re.error as error:
        raise ConfigurationError(f"the glob {pattern!r} cannot be read: {error}") from None
    return f"(?:{result})"

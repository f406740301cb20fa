"""Cursors: where the next page of a list begins, opaque to those who carry them.

A cursor holds the key of the last row that was looked at, and a mark of the query that it belongs to. It is
no secret and grants nothing: one that was made up names another place in the same list, or is refused.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Hashable
from typing import Final
from uuid import UUID

from blake3 import blake3

from penstock_registry.exceptions import BadQuestion

Key = tuple[float | int | str | bytes | UUID, ...]

MAX_CURSOR: Final = 2048
_REFUSED: Final = "this cursor is none of this query: begin without one, and take `next` of the last page"
_INT_LIMIT: Final = 1 << 63


def mark(*query: Hashable) -> str:
    """Return what tells cursors of one query from those of another."""
    return blake3(repr(query).encode("utf-8", "surrogatepass")).hexdigest(6)


def encode(query: str, key: Key) -> str:
    """Return a cursor of the query with this mark."""
    plain = [_plain(value) for value in key]
    text = json.dumps([query, *plain], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode("ascii")


def decode(cursor: str, query: str, *types: type) -> Key:
    """Return the key in a cursor, its values of these types. Raises BadQuestion."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        marked, *values = json.loads(raw)
        if marked != query or len(values) != len(types):
            raise BadQuestion(_REFUSED)
        return tuple(_value(kind, value) for kind, value in zip(types, values, strict=True))
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise BadQuestion(_REFUSED) from None


def _plain(value: float | int | str | bytes | UUID) -> float | int | str:
    if isinstance(value, UUID):
        return value.hex
    return value.hex() if isinstance(value, bytes) else value


def _value(kind: type, value: object) -> float | int | str | bytes | UUID:
    if kind is float and type(value) in {float, int} and math.isfinite(value):  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    if kind is int and type(value) is int and -_INT_LIMIT <= value < _INT_LIMIT:
        return value
    if kind is bytes and isinstance(value, str):
        return bytes.fromhex(value)
    if kind is UUID and isinstance(value, str):
        return UUID(hex=value)
    if kind is str and isinstance(value, str) and "\0" not in value:
        value.encode()
        return value
    raise ValueError(_REFUSED)

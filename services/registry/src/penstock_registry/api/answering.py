"""Answers with an ETag: who has the newest one already is not sent it again."""

from __future__ import annotations

from typing import Final

from blake3 import blake3
from fastapi import Request, Response
from pydantic import BaseModel

JSON: Final = "application/json"


def answer(request: Request, model: BaseModel, *, tag: str | None = None) -> Response:
    """Return the model as JSON, or 304 if the client has it. `tag`: its ETag, where the body is not it."""
    body = model.model_dump_json().encode()
    etag = tag or etag_of(body)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    asks = request.method in {"GET", "HEAD"}  # elsewhere the condition means something else
    if asks and matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=JSON)


def etag_of(body: bytes) -> str:
    """Return the ETag of a body: a weak one, for compression keeps the meaning but not the bytes."""
    return f'W/"{blake3(body).hexdigest(12)}"'


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether a client that sent this If-None-Match has what `etag` names."""
    if if_none_match is None:
        return False
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in known or etag.removeprefix("W/") in known

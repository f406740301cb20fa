"""The page: the files of one directory, and nothing else."""

from __future__ import annotations

import os
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from typing_extensions import override

PAGE: Final = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "page")

# As browsers must have them, whatever this machine's own table says.
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


class Page(StaticFiles):
    """Serves files of known kinds from `directory`; index.html for the directory itself."""

    def __init__(self, directory: str = PAGE) -> None:
        super().__init__(directory=directory, html=True, check_dir=False)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/api/"):
            raise HTTPException(404)
        await super().__call__(scope, receive, send)

    @override
    async def get_response(self, path: str, scope: Scope) -> Response:
        name = "index.html" if path in {".", ""} else path
        content_type = _TYPES.get(os.path.splitext(name)[1].lower())
        if "\0" in path or content_type is None:
            raise HTTPException(404)
        response = await super().get_response(name, scope)
        response.headers["Content-Type"] = content_type
        return response

"""What stands before all routes: who is answered, how large requests may be, what browsers are told."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock_registry.api.login import Login, hesitate
from penstock_registry.api.problems import problem
from servicekit.http import refusal_on_loopback

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""A lookup of a thousand paths of 4 KiB, in base64, is 6 MB."""

API: Final = "/api/"
"""What begins so is answered to programs; the rest is the page."""
_SECURITY: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ENDLESS: Final = "/api/v1/events"
_SAFE: Final = frozenset({"GET", "HEAD"})
_TOO_LONG: Final = f"the body of a request may have {MAX_BODY_BYTES} bytes"


class Guard:
    """Refuses what must not be answered, and bounds the rest.

    `login` None: nobody is asked for a token. Then the listener is on loopback, and only requests of this
    machine's own programs and of our own page are answered. A token is a better proof than the name that we
    are asked by: with one, that may be a proxy's.
    """

    def __init__(self, app: ASGIApp, *, login: Login | None) -> None:
        self._app = app
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-cache")
                for name, value in _SECURITY.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        if refused := self._refusal(scope["method"], scope["path"], headers):
            status, detail = refused
            if status == 401 and "authorization" in headers:
                await hesitate()
            challenge = {"WWW-Authenticate": 'Bearer realm="penstock"'} if status == 401 else {}
            await problem(status, detail, challenge)(scope, receive, send_guarded)
            return
        if scope["method"] == "HEAD" and scope["path"] != _ENDLESS:
            await self._app({**scope, "method": "GET"}, _bounded(receive), _without_body(send_guarded))
        else:
            await self._app(scope, _bounded(receive), send_guarded)

    def _refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        if self._login is None:
            refused = refusal_on_loopback(headers.get("host"), headers.get("origin"))
            if refused is not None:
                return 403, refused
        elif method not in _SAFE and _is_of_another_site(headers):
            return 403, "requests from web pages other than its own are refused (Sec-Fetch-Site, Origin)"
        elif path.startswith(API) and not self._login.admits(
            headers.get("authorization"), cookie_parser(headers.get("cookie", ""))
        ):
            return 401, "log in at /, or send the registry's token: Authorization: Bearer TOKEN"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > MAX_BODY_BYTES:
            return 413, _TOO_LONG
        return None


def _is_of_another_site(headers: Headers) -> bool:
    """Whether a browser says that a page of another site has it ask: it might be to log a person out."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    # Old browsers, and all without TLS. A proxy must then pass on the name that it was asked by.
    _, _, asking = headers.get("origin", "").partition("://")
    return "origin" in headers and asking.lower() != headers.get("host", "").lower()


def _without_body(send: Send) -> Send:
    """Return a `send` for the answer to HEAD."""

    async def headers_only(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return headers_only


def _bounded(receive: Receive) -> Receive:
    """Return a `receive` that takes no more than a request may have."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > MAX_BODY_BYTES:
                raise HTTPException(413, _TOO_LONG)
        return message

    return bounded

"""The application: the page at /, the API under /api/v1, the login."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any, Final

from fastapi import FastAPI, Form, Request, Response
from sqlalchemy import Engine
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, RedirectResponse
from typing_extensions import override

from penstock_registry.api import problems, routes
from penstock_registry.api.guard import Guard
from penstock_registry.api.live import Live
from penstock_registry.api.login import COOKIE, COOKIE_SECONDS, Login, hesitate
from penstock_registry.api.models import Problem
from penstock_registry.api.static import PAGE, Page
from penstock_registry.store.queries import Queries
from servicekit.exceptions import ConfigurationError

_DESCRIPTION: Final = """What is known of every file of every stream, and the proof of delivery.

Times are seconds since 1970 (UTC), sizes bytes, digests BLAKE3 in hexadecimal. Lists come in pages: send
`next` of one as `cursor` to get the following one, with the same filters, until there is no `next`; a page
may be short, or empty, though there is a next one. Errors are `application/problem+json` (RFC 9457). Answers
have an `ETag`; with `If-None-Match` what has not changed is answered by 304.

A registry on loopback without a token answers everybody. Others want `Authorization: Bearer TOKEN`, or the
cookie that `POST /login` gives.
"""
_COMPRESSED_FROM: Final = 2048


def create_app(
    engine: Engine,
    *,
    token: str | None,
    loopback: bool,
    stopping: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.time,
    page: str = PAGE,
    live: Live | None = None,
) -> FastAPI:
    """Return the application over this database.

    `token` is asked for where there is one. `loopback`: the listener is on loopback, where there may be none.
    `stopping` is asked several times a second whether the listeners to events are to be let go: a server
    that waits for its connections could not end otherwise. `page` is the directory of the page.

    Raises ConfigurationError if a token is needed and there is none.
    """
    if not loopback and not token:
        raise ConfigurationError("a registry that others can reach needs a token: set PENSTOCK_TOKEN")
    login = Login(token, clock=clock) if token else None
    app = _Application(
        title="Penstock registry",
        version=version("penstock-registry"),
        description=_DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # it would come from another site
        redoc_url=None,
        redirect_slashes=False,
        responses=problems.documented(401, 403, 422, 503),
    )
    queries = Queries(engine, clock=clock)
    app.state.queries = queries
    app.state.live = live or Live(queries.overview, stopping=stopping)
    problems.install(app)
    app.include_router(routes.router, prefix="/api/v1")
    _add_login(app, login)
    app.add_api_route("/healthz", _alive, response_class=PlainTextResponse, include_in_schema=False)
    app.router.default = Page(page)
    app.add_middleware(GZipMiddleware, minimum_size=_COMPRESSED_FROM, compresslevel=5)
    app.add_middleware(Guard, login=login)
    return app


class _Application(FastAPI):
    @override
    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return document


def _alive() -> str:
    return "ok\n"


def _is_encrypted(request: Request) -> bool:
    """Whether the browser speaks TLS, be it to a proxy before us: that says so, or the page's own origin."""
    origin = request.headers.get("origin", "")
    said = {request.url.scheme, request.headers.get("x-forwarded-proto")}
    return "https" in said or origin.lower().startswith("https://")


def _add_login(app: FastAPI, login: Login | None) -> None:
    @app.post("/login", include_in_schema=False, responses={401: {"model": Problem}})
    async def log_in(request: Request, token: Annotated[str, Form(max_length=1024)]) -> Response:
        """Give a cookie for the token: to a form with a redirect to the page, to a program with 204."""
        if login is not None and not login.is_token(token):
            await hesitate()
            return problems.problem(401, "this is not the registry's token")
        is_form = "text/html" in request.headers.get("accept", "")
        response = RedirectResponse("/", status_code=303) if is_form else Response(status_code=204)
        if login is not None:
            response.set_cookie(
                COOKIE,
                login.cookie(),
                max_age=COOKIE_SECONDS,
                secure=_is_encrypted(request),
                httponly=True,
                samesite="strict",
            )
        return response

    @app.post("/logout", include_in_schema=False)
    def log_out() -> Response:
        """Take the cookie away."""
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

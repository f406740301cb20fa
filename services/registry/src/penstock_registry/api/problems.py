"""Errors, as RFC 9457 has them: application/problem+json, whatever went wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from penstock_registry.api.models import Problem
from penstock_registry.exceptions import BadQuestion, DatabaseRefused, DatabaseUnavailable
from servicekit.lifecycle import describe_bug

log = logging.getLogger(__name__)

PROBLEM_JSON: Final = "application/problem+json"
_RETRY_SECONDS: Final = 5
_SHOWN_ERRORS: Final = 5


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer that says what is wrong."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return Response(body.model_dump_json(), status, dict(headers or {}), PROBLEM_JSON)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's words for these errors."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Let the application answer all errors so."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(BadQuestion, _bad_question)
    app.add_exception_handler(DatabaseUnavailable, _unavailable)
    app.add_exception_handler(DatabaseRefused, _unavailable)
    app.add_exception_handler(Exception, _bug)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:
        if error.status_code == HTTPStatus.NOT_FOUND:
            detail = "there is nothing at this address; /api/v1/openapi.json lists what there is"
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            detail = f"{request.method} is not possible here; use {(error.headers or {}).get('Allow', 'GET')}"
    return problem(error.status_code, detail, error.headers)


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [f"{'.'.join(str(part) for part in e['loc'][1:])}: {e['msg']}" for e in error.errors()]
    more = [f"and {len(found) - _SHOWN_ERRORS} more"] if len(found) > _SHOWN_ERRORS else []
    said = "; ".join(found[:_SHOWN_ERRORS] + more)
    return problem(422, said.encode("utf-8", "replace").decode())


def _bad_question(_request: Request, error: Exception) -> Response:
    return problem(400, str(error))


def _unavailable(_request: Request, error: Exception) -> Response:
    return problem(503, str(error), {"Retry-After": str(_RETRY_SECONDS)})


def _bug(request: Request, error: Exception) -> Response:
    log.error("%s %s: %s", request.method, request.url.path, describe_bug(error))
    log.debug("%s %s", request.method, request.url.path, exc_info=error)
    return problem(500, bug_for_clients(error))


def bug_for_clients(error: Exception) -> str:
    """Return what those who ask are told of an error that nobody foresaw."""
    return f"this is a bug: {type(error).__name__}; the registry's log says where"

"""What can be asked of a running uploader, on loopback: GET /ledger, GET /drained, POST /resend.

Parameters are in the query, so that `curl` and `wget` need nothing else::

    curl "http://$(cat .penstock/uploader/port)/drained?timeout=60"
    curl -X POST "http://$(cat .penstock/uploader/port)/resend?path=run1/a.raw"
    wget -qO- --post-data= "http://$(cat .penstock/uploader/port)/resend?unreceipted=1"
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from penstock_uploader.ledger import EVERYONE, Answer, KnownFile, Outcome, Upload
from servicekit.exceptions import ConfigurationError
from servicekit.http import LOOPBACK, HttpServer, Query, Response

PORT_FILE: Final = "port"
_MAX_PAGE: Final = 1000
_POLL_SECONDS: Final = 0.05

T = TypeVar("T")


class Controlled(Protocol):
    """What the service offers to those who ask. All but `ask` run in its thread, by `ask`."""

    def ask(self, question: Callable[[], T]) -> T:
        """Have `question` answered in the service's thread."""

    def ledger_page(self, after: int, limit: int) -> dict[str, Any]:
        """Files of the ledger by id."""

    def resend(self, path: str) -> bool:
        """Have the version of a file that stands sent again, to all."""

    def resend_unreceipted(self) -> int:
        """Have all that lacks a receipt sent again."""

    def begin_drain(self) -> int:
        """Have everything looked at once more; gives the ticket of that look."""

    def not_drained(self, ticket: int, receipts_from: list[str]) -> dict[str, Any]:
        """Give what is missing; empty once all is acknowledged, and receipted by those named."""

    def drain_receipts_from(self) -> list[str]:
        """Give the destinations that the settings name."""


class Control:
    """The HTTP side of it. Its address stands in `<state_dir>/port` while it listens."""

    def __init__(self, service: Controlled, state_dir: str, port: int) -> None:
        self._service = service
        self._file = os.path.join(state_dir, PORT_FILE)
        routes = {
            ("GET", "/ledger"): self._ledger,
            ("GET", "/drained"): self._drained,
            ("POST", "/resend"): self._resend,
        }
        self._server = HttpServer(LOOPBACK, port, routes, name="control")
        self.port = self._server.port
        with open(self._file + ".new", "w", encoding="ascii") as stream:
            stream.write(f"{LOOPBACK}:{self._server.port}\n")
        os.replace(self._file + ".new", self._file)

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            os.unlink(self._file)
        self._server.close()

    def _ledger(self, query: Query) -> Response:
        after, limit = _number(query, "after", 0), min(_number(query, "limit", 100), _MAX_PAGE)
        return Response(200, self._service.ask(lambda: self._service.ledger_page(int(after), int(limit))))

    def _resend(self, query: Query) -> Response:
        if query.get("unreceipted", "0") not in ("", "0"):
            count = self._service.ask(self._service.resend_unreceipted)
            return Response(200, {"resent": count})
        path = query.get("path")
        if not path:
            return Response(400, {"error": "name a file, ?path=..., or ?unreceipted=1"})
        if self._service.ask(lambda: self._service.resend(path)):
            return Response(200, {"resent": 1})
        return Response(404, {"error": f"{path!r} was never sent from here"})

    def _drained(self, query: Query) -> Response:
        began = time.monotonic()
        timeout = _number(query, "timeout", 0)
        delivered = query.get("delivered", "0") not in ("", "0")
        named = [name for name in query.get("receipt_from", "").split(",") if name]
        receipts_from = (named or self._service.drain_receipts_from()) if delivered else []
        if delivered and not receipts_from:
            raise ConfigurationError(
                "delivered by whom? The uploader needs --after-receipt-from, or the question &receipt_from="
            )
        ticket = self._service.ask(self._service.begin_drain)
        while True:
            missing = self._service.ask(lambda: self._service.not_drained(ticket, receipts_from))
            if not missing:
                return Response(200, {"drained": True})
            if missing.get("hopeless") or time.monotonic() - began >= timeout:
                return Response(503, {"drained": False, **missing})
            time.sleep(_POLL_SECONDS)


def _number(query: Query, name: str, default: float) -> float:
    try:
        number = float(query.get(name) or default)
    except ValueError:
        raise ConfigurationError(f"{name}={query[name]!r} is no number") from None
    if not 0 <= number < 1e12:
        raise ConfigurationError(f"{name}={query[name]!r} is out of range")
    return number


def describe_file(file: KnownFile, upload: Upload | None, answers: dict[str, Answer]) -> dict[str, Any]:
    """Give what the ledger knows of a file as JSON: `state` sums it up in a word."""
    described: dict[str, Any] = {"path": file.path, "state": state_of(file, upload, answers)}
    if any("\ud800" <= character <= "\udfff" for character in file.path):
        raw = file.path.encode("utf-8", "surrogateescape")
        described["path"] = raw.decode("utf-8", "replace")
        described["path_base64"] = base64.b64encode(raw).decode("ascii")
    if upload is not None:
        described |= {
            "size": upload.fingerprint.size,
            "mtime_ns": upload.fingerprint.mtime_ns,
            "upload_id": str(upload.id),
            "digest": upload.digest.hex() if upload.digest else None,
            "partition": upload.partition,
            "first_offset": upload.first_offset,
            "last_offset": upload.last_offset,
            "chunks_acknowledged": upload.chunks,
        }
    elif file.fingerprint is not None:
        described |= {"size": file.fingerprint.size, "mtime_ns": file.fingerprint.mtime_ns}
    described["destinations"] = {
        name: {"outcome": answer.outcome.value, "reason": answer.reason, "resends": answer.resends}
        for name, answer in answers.items()
        if name != EVERYONE
    }
    return described


def state_of(file: KnownFile, upload: Upload | None, answers: dict[str, Answer]) -> str:
    """Sum up a file in a word.

    `existing` (it was there before us), `sending`, `acknowledged`, `resending`, `failed`, `delivered`
    (somewhere, and nowhere anything else).
    """
    if upload is None:
        return "existing" if file.version is None and file.fingerprint is not None else "new"
    outcomes = {answer.outcome for answer in answers.values()}
    if Outcome.FAILED in outcomes:
        return "failed"
    if outcomes & {Outcome.AGAIN, Outcome.RESENT} and not (
        outcomes & {Outcome.DELIVERED}
        and all(
            answer.destination == EVERYONE or answer.outcome in (Outcome.DELIVERED, Outcome.SKIPPED)
            for answer in answers.values()
        )
    ):
        return "resending"
    if file.version is None or upload.version != file.version or upload.state != "acknowledged":
        return "sending"
    return "delivered" if Outcome.DELIVERED in outcomes else "acknowledged"

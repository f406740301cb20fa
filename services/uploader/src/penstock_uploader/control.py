"""What can be asked of a running uploader, on loopback: GET /ledger, GET /drained, POST /resend.

Parameters are in the query, so that `curl` and `wget` need nothing else::

    curl "http://$(cat .penstock/uploader/port)/drained?timeout=60"
    curl -X POST "http://$(cat .penstock/uploader/port)/resend?path=run1/a.raw"
    wget -qO- --post-data= "http://$(cat .penstock/uploader/port)/resend?unreceipted=1"
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Final

from penstock_uploader.inbox import Inbox
from penstock_uploader.questions import Questions
from servicekit.exceptions import ConfigurationError
from servicekit.http import LOOPBACK, HttpServer, Query, Response

PORT_FILE: Final = "port"
NO_DESTINATIONS: Final = "no-destinations"
"""The `kind` of the error that answers `delivered=1` where no destination is named."""
_MAX_PAGE: Final = 1000
_POLL_SECONDS: Final = 0.05


class Control:
    """The HTTP side of it. Its address stands in `<state_dir>/port` while it listens."""

    def __init__(self, questions: Questions, inbox: Inbox, state_dir: str, port: int) -> None:
        self._questions = questions
        self._ask = inbox.ask
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
        return Response(200, self._ask(lambda: self._questions.ledger_page(int(after), int(limit))))

    def _resend(self, query: Query) -> Response:
        if query.get("unreceipted", "0") not in ("", "0"):
            count = self._ask(self._questions.resend_unreceipted)
            return Response(200, {"resent": count})
        path = query.get("path")
        if not path:
            return Response(400, {"error": "name a file, ?path=..., or ?unreceipted=1"})
        if self._ask(lambda: self._questions.resend(path)):
            return Response(200, {"resent": 1})
        return Response(404, {"error": f"{path!r} was never sent from here"})

    def _drained(self, query: Query) -> Response:
        began = time.monotonic()
        timeout = _number(query, "timeout", 0)
        delivered = query.get("delivered", "0") not in ("", "0")
        named = [name for name in query.get("receipt_from", "").split(",") if name]
        receipts_from = (named or list(self._questions.receipts_required)) if delivered else []
        if delivered and not receipts_from:
            text = (
                "delivered by whom? The uploader needs --after-receipt-from, or the question &receipt_from="
            )
            return Response(400, {"error": text, "kind": NO_DESTINATIONS})
        ticket = self._ask(self._questions.begin_drain)
        while True:
            missing = self._ask(lambda: self._questions.not_drained(ticket, receipts_from))
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

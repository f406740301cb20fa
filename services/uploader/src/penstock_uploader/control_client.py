"""Asking an uploader about a directory: the running one by its loopback port, else its ledger, read-only."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

from penstock_uploader.control import NO_DESTINATIONS, PORT_FILE
from penstock_uploader.description import describe_file
from penstock_uploader.ledger import Ledger
from servicekit.exceptions import ConfigurationError, PenstockError, StateError


class NotRunning(PenstockError):
    """No uploader watches the directory now."""


class NoDestinations(ConfigurationError):
    """Whether all is delivered was asked, but neither the question nor the uploader names a destination."""


def default_state_dir(directory: str) -> str:
    """Give where the uploader of a directory keeps its state unless told otherwise."""
    return os.path.join(os.path.realpath(directory), ".penstock", "uploader")


class ControlClient:
    """Asks the uploader whose state is in `state_dir`."""

    def __init__(self, state_dir: str) -> None:
        self.state_dir = state_dir

    def drained(
        self, timeout: float, *, delivered: bool = False, receipts_from: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Wait until all is acknowledged (`delivered`: and receipted); `drained` in the answer says whether.

        Raises NotRunning; NoDestinations if `delivered` by none that is named.
        """
        query: dict[str, object] = {"timeout": timeout}
        if delivered:
            query |= {"delivered": 1, "receipt_from": ",".join(receipts_from)}
        return self._request("GET", f"/drained?{urlencode(query)}", timeout + 30)

    def resend(self, path: str) -> dict[str, Any]:
        """Have a file, by relative path, sent again; raises NotRunning, StateError if it never was."""
        return self._request(
            "POST", f"/resend?path={quote_from_bytes(path.encode('utf-8', 'surrogateescape'))}"
        )

    def resend_unreceipted(self) -> dict[str, Any]:
        """Have all that lacks a receipt sent again; raises NotRunning."""
        return self._request("POST", "/resend?unreceipted=1", 600)

    def files(self, page: int = 500) -> Iterator[dict[str, Any]]:
        """Yield what the ledger knows, file by file: see `describe_file`; also when no uploader runs."""
        after = 0
        while True:
            try:
                answer = self._request("GET", f"/ledger?after={after}&limit={page}")
            except NotRunning:
                yield from self._read_ledger(after)
                return
            yield from answer["files"]
            if answer["next"] is None:
                return
            after = answer["next"]

    def _read_ledger(self, after: int) -> Iterator[dict[str, Any]]:
        path = os.path.join(self.state_dir, "ledger.db")
        if not os.path.exists(path):
            raise StateError(f"there is no ledger in {self.state_dir!r}: no uploader ever used it")
        ledger = Ledger(path, read_only=True)
        try:
            while page := ledger.page(after, 500):
                for file, upload in page:
                    yield describe_file(file, upload, ledger.answers.of(upload.version) if upload else {})
                after = page[-1][0].id
        finally:
            ledger.close()

    def _request(self, method: str, path: str, timeout: float = 60) -> dict[str, Any]:
        try:
            with open(os.path.join(self.state_dir, PORT_FILE), encoding="ascii") as stream:
                address = stream.read().strip()
        except OSError:
            raise NotRunning(f"no uploader is running with its state in {self.state_dir!r}") from None
        request = urllib.request.Request(f"http://{address}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            with error:
                answer = json.loads(error.read() or b"{}")
            if "drained" in answer:
                return answer
            text = str(answer.get("error", error))
            raise (
                NoDestinations(text) if answer.get("kind") == NO_DESTINATIONS else StateError(text)
            ) from None
        except (urllib.error.URLError, OSError):
            # The port file of one that was killed.
            raise NotRunning(f"no uploader is running with its state in {self.state_dir!r}") from None

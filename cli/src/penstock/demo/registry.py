"""The demo's own registry: its page for who wants to look, its receipts as a second witness."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from penstock.broker.ports import free_ports, is_free
from penstock.commands.registry import installed
from penstock.demo.processes import OwnCommand
from penstock.registry_client import DEFAULT_URL, RegistryClient, RegistryError
from penstock.verification.hashing import Hashed
from penstock.verification.run import BATCH, check
from penstock.verification.source import Source
from penstock.verification.verdicts import Verdict

USUAL_PORT: Final = 8650
CATCH_UP_SECONDS: Final = 30.0
"""So long the registry may take to read what was there before it was asked."""


class OwnRegistry(OwnCommand):
    """`penstock registry`, with its state in the demo's temporary directory."""

    def __init__(self, scratch: Path, bootstrap_servers: str, *, usual_port: bool = True) -> None:
        """`usual_port`: take the one that everybody knows, if it is free."""
        port = USUAL_PORT if usual_port and is_free(USUAL_PORT) else free_ports(1)[0]
        self.url = DEFAULT_URL.replace(str(USUAL_PORT), str(port))
        self._client = RegistryClient(self.url)
        super().__init__(
            ["registry", "--port", str(port), "--state-dir", str(scratch / "registry"),
             "--bootstrap-servers", bootstrap_servers],
            log=scratch / "registry.log",
            remove_if_orphaned=scratch,
        )  # fmt: skip

    @staticmethod
    def is_installed() -> bool:
        """Whether there can be one."""
        return installed()

    def ready(self) -> bool:
        """Whether it answers: it, and nobody else who was faster to take the port."""
        if self.url not in self.log.read_text(encoding="utf-8", errors="replace"):
            return False
        try:
            self._client.overview()
        except RegistryError:
            return False
        return True

    def missing(self, topic: str, root: str, files: Sequence[Hashed]) -> list[str]:
        """Return the paths whose bytes, by the registry's receipts, have not arrived everywhere.

        It may be behind: it is waited for as long as it comes nearer.
        """
        deadline = time.monotonic() + CATCH_UP_SECONDS
        left = list(files)
        while left and self.running and time.monotonic() < deadline:
            try:
                before, left = len(left), self._not_arrived(topic, root, left)
            except RegistryError:
                before = len(left)
            if len(left) < before:
                deadline = time.monotonic() + CATCH_UP_SECONDS
            if left:
                time.sleep(0.1)
        return [file.path for file in left]

    def _not_arrived(self, topic: str, root: str, files: Sequence[Hashed]) -> list[Hashed]:
        heard = tuple(destination.name for destination in self._client.stream(topic).destinations)
        source = Source(root, "", None, "")
        found: list[Hashed] = []
        for begin in range(0, len(files), BATCH):
            batch = files[begin : begin + BATCH]
            checked = check(batch, source, topic, heard, self._client)
            found += [
                file for file, seen in zip(batch, checked, strict=True) if seen.verdict is not Verdict.ARRIVED
            ]
        return found

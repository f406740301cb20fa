"""A registry of one's own as `penstock registry`, and what it knows."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.cli.commands import Running, penstock
from tests.kafka import Kafka, unique
from tests.waiting import eventually

from penstock.registry_client import RegistryClient


class Registry(Running):
    """Knows of one stream, and of the telemetry on a topic of its own."""

    def __init__(self, kafka: Kafka, directory: Path, topic: str, **variables: str) -> None:
        self.events = kafka.create_topic()
        arguments = ["--port", 0, "--group", unique("registry"), "--state-dir", directory / "state"]
        arguments += ["--streams", topic, "--events-topic", self.events]
        super().__init__(
            "registry", *arguments, "--bootstrap-servers", kafka.bootstrap_servers,
            log=directory / "registry.log", **variables,
        )  # fmt: skip
        self.url = eventually(self._address, 60, describe=lambda: self.said)

    def _address(self) -> str | None:
        assert self.process.poll() is None, self.said
        found = re.search(r"the page is at (http://\S+)", self.said)
        return found[1] if found else None

    def overview(self) -> dict[str, Any]:
        """What `penstock status --json` shows, asked without starting a process each time."""
        return RegistryClient(self.url).overview()

    def verify(self, directory: Path, topic: str, *arguments: object) -> tuple[int, dict[str, dict]]:
        """The exit code, and the files by path: none while the registry does not know what is asked for."""
        done = penstock("verify", directory, "--stream", topic, "--registry", self.url, "--json", *arguments)
        assert done.returncode in (0, 1), done.stderr
        files = json.loads(done.stdout)["files"] if done.stdout else []
        return done.returncode, {file["path"]: file for file in files}

    def eventually_verifies(
        self, directory: Path, topic: str, expected: Callable[[int, dict[str, str]], bool], *arguments: object
    ) -> dict[str, dict]:
        """Wait until exit code and states by path are as expected; return the files."""
        seen: list[object] = []

        def as_expected() -> dict[str, dict] | None:
            code, files = self.verify(directory, topic, *arguments)
            seen[:] = [code, {path: (file["state"], file["destinations"]) for path, file in files.items()}]
            states = {path: file["state"] for path, file in files.items()}
            return files if expected(code, states) else None

        return eventually(as_expected, 60, describe=lambda: f"{seen}\n{self.said[-2000:]}") or {}

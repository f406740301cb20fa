"""The registry of an installation, as programs meet it: its API through a port-forward, with its token."""

import base64
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.cluster import Kubectl
from tests.e2e.forwarding import forwarded


@dataclass(frozen=True)
class Api:
    """What docs/api.md describes, at an address of this machine."""

    url: str
    token: str

    def get(self, path: str, **filters: Any) -> dict[str, Any]:
        """One answer, such as `get("streams/scope")`; filters that are lists are given several times."""
        question = urllib.parse.urlencode(filters, doseq=True)
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}?{question}", headers={"Authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def all(self, path: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """What is on all pages of a list, such as `all("files", stream="scope")`."""
        page: dict[str, Any] = {"next": ""}
        while page["next"] is not None:
            cursor = {"cursor": page["next"]} if page["next"] else {}
            page = self.get(path, **filters, **cursor, limit=1000)
            yield from page["items"]


@dataclass(frozen=True)
class Registry:
    """The registry's Deployment, Service and Secret, which all have this name."""

    system: Kubectl
    name: str

    @property
    def token(self) -> str:
        secret = self.system("get", "secret", self.name, "-o", "json").object
        return base64.b64decode(secret["data"]["token"]).decode()

    def wait_until_ready(self) -> None:
        waited = self.system("rollout", "status", f"deployment/{self.name}", "--timeout=90s")
        assert waited.ok, waited.err

    @contextmanager
    def connected(self) -> Iterator[Api]:
        """Its API and page, as long as the pod lives that runs now."""
        with forwarded(self.system, f"service/{self.name}", "http") as url:
            yield Api(url, self.token)

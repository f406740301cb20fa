"""A real Prometheus, and promtool: Debian's or any other on the PATH."""

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.waiting import eventually

from penstock.broker.ports import free_ports


def program(name: str) -> str:
    """Where prometheus or promtool is; without it the test fails, and says how to get it."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(
            f"there is no {name} on the PATH: install Prometheus (apt-get install prometheus, "
            f"brew install prometheus). To have the programs alone, without a service that starts: "
            f"apt-get download prometheus && dpkg-deb --extract prometheus_*.deb . && ls usr/bin",
            pytrace=False,
        )
    return found


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool and return all that it said (`stdout`), whether it was content or not."""
    return subprocess.run(
        [program("promtool"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


@dataclass(frozen=True)
class Prometheus:
    """The HTTP API of one that runs, wherever that is."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that there are now: `metric` has labels, `value` a time and a number as a text."""
        data = self._get("query", query=expression)
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        found: list[dict[str, Any]] = data["result"]
        return found

    def value(self, expression: str) -> float | None:
        """The only number that there is now; None if there is none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def label_values(self, label: str, selector: str = "") -> list[str]:
        """What Grafana's label_values() gives, of all series or of those that are selected."""
        chosen = {"match[]": selector} if selector else {}
        found: list[str] = self._get(f"label/{label}/values", **chosen)
        return found

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes: labels, health and the last error of each."""
        found: list[dict[str, Any]] = self._get("targets", state="active")["activeTargets"]
        return found

    def alerts(self) -> dict[str, str]:
        """Names of the alerts that are not inactive, and how far each has come: pending or firing."""
        states: dict[str, str] = {}
        for alert in self._get("alerts")["alerts"]:
            name = alert["labels"]["alertname"]
            states[name] = "firing" if "firing" in (alert["state"], states.get(name)) else "pending"
        return states

    def firing(self) -> list[dict[str, Any]]:
        """The alerts that fire: labels and annotations of each."""
        return [alert for alert in self._get("alerts")["alerts"] if alert["state"] == "firing"]

    def rules(self) -> list[dict[str, Any]]:
        """All rules as it has evaluated them: health and the last error of each."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **asked: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{path} {asked}: {error.read().decode()}") from None


@contextmanager
def running(directory: Path, config: Mapping[str, Any]) -> Iterator[Prometheus]:
    """Run a Prometheus with this configuration until the test ends; its data go into the directory."""
    [port] = free_ports(1)
    (directory / "prometheus.yml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    log = directory / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--no-storage.tsdb.wal-compression",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    server = Prometheus(f"http://127.0.0.1:{port}")

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{server.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        eventually(ready, describe=lambda: log.read_text()[-2000:])
        yield server
    finally:
        process.terminate()
        process.wait(30)

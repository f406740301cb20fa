"""Files that flow through a stream for as long as a test wants, and a witness of all that becomes visible."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import Kubectl
from tests.e2e.installed import POLL_SECONDS, RESTRICTED_POD, Desk, Stream, apply
from tests.images.pods import SECURITY, image
from tests.waiting import eventually

_PROGRAM = Path(__file__).with_name("flow_in_pod.py").read_text("utf-8")


@dataclass(frozen=True)
class File:
    """What somebody wrote, or saw."""

    path: str
    size: int
    sha256: str
    blake3: str


@dataclass(frozen=True)
class Flow:
    """A pod that writes files into a stream's source, and one that reads whatever its destination shows."""

    stream: Stream
    desk: Desk

    @property
    def lab(self) -> Kubectl:
        return self.stream.lab

    @property
    def name(self) -> str:
        return f"{self.stream.name}-flow"

    @property
    def _end(self) -> str:
        return f"{Desk.SOURCES}/{self.name}/end"

    def start(self, first: int = 0) -> None:
        """Begin; with a number of bytes, the first file is so large, and all others are small."""
        self.desk.do(f"mkdir -p {Desk.SOURCES}/{self.name}")
        source, aside = f"{Desk.SOURCES}/{self.stream.name}", f"{Desk.SOURCES}/{self.name}"
        destination = f"{Desk.DELIVERIES}/{self.stream.name}"
        programs = {
            "writer": ("write", source, aside, self._end, str(first)),
            "watcher": ("watch", destination),
        }
        spec = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": RESTRICTED_POD,
            "containers": [_container(name, *arguments) for name, arguments in programs.items()],
            "volumes": [
                {"name": name, "persistentVolumeClaim": {"claimName": name}}
                for name in ("sources", "deliveries")
            ],
        }
        apply(self.lab, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self.name}, "spec": spec})
        waited = self.lab("wait", "--for=condition=Ready", f"pod/{self.name}", "--timeout=90s")
        assert waited.ok, waited.err

    def stop(self) -> None:
        """Let the writer end, and wait for that; the watcher goes on."""
        self.desk.do(f"touch {self._end}")
        writer = "jsonpath={.status.containerStatuses[?(@.name=='writer')].state.terminated.exitCode}"
        code = eventually(
            lambda: self.lab("get", "pod", self.name, "-o", writer).out, 30, "the writer ends", POLL_SECONDS
        )
        assert code == "0", self.lab("logs", self.name, "-c", "writer", "--tail=20").out

    def remove(self) -> None:
        self.lab("delete", "pod", self.name, "--ignore-not-found", "--wait=false")

    def written(self) -> dict[str, File]:
        return {file.path: file for file in self._told("writer")}

    def seen(self) -> list[File]:
        """Each file that the destination has shown, as often as it was another one."""
        return list(self._told("watcher"))

    def everything_arrives(self, timeout: float = 90) -> dict[str, File]:
        """Wait until the destination has shown all that is written by now; what it has shown is right."""
        written = self.written()
        eventually(
            lambda: written.keys() <= {file.path for file in self.seen()},
            timeout,
            lambda: f"still missing: {sorted(written.keys() - {file.path for file in self.seen()})}",
            POLL_SECONDS,
        )
        self.check()
        return written

    def check(self) -> None:
        """Nothing torn, nothing twice, nothing that nobody wrote, has ever been visible."""
        seen, written = self.seen(), self.written()
        wrong = [file for file in seen if file != written.get(file.path)]
        assert wrong == [], f"torn: {[(file, written.get(file.path)) for file in wrong[:5]]}"
        twice = [path for path, times in Counter(file.path for file in seen).items() if times > 1]
        assert twice == [], f"delivered more than once: {twice}"

    def _told(self, container: str) -> list[File]:
        answer = self.lab("logs", self.name, "-c", container, "--tail=-1")
        assert answer.ok, answer.err
        lines = [json.loads(line) for line in answer.out.splitlines()]
        gone = [line["path"] for line in lines if "gone" in line]
        assert gone == [], f"it was there, and went: {gone}"
        return [File(**line) for line in lines]


def _container(name: str, *arguments: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": image("downloader"),
        "command": ["/usr/bin/tini", "-s", "--", "/opt/penstock/bin/python", "-c", _PROGRAM],
        "args": list(arguments),
        "securityContext": SECURITY,
        "volumeMounts": [
            {"name": "sources", "mountPath": Desk.SOURCES},
            {"name": "deliveries", "mountPath": Desk.DELIVERIES},
        ],
    }

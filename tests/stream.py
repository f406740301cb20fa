"""A stream under test: the real services as processes, with directories of their own."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from blake3 import blake3
from tests.kafka import Kafka
from tests.waiting import eventually

_SCRIPTS = Path(sys.executable).parent


class Service:
    """One running service. Its output goes to a file, which a failed wait shows."""

    def __init__(self, script: str, environment: dict[str, str], log: Path) -> None:
        self.name = script
        self.log = log
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [_SCRIPTS / script],
                env=clean | environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, timeout: float = 60) -> int:
        """Wait until it has ended by itself, and give its exit code (negative: the signal)."""
        return self.process.wait(timeout)

    def stop(self, timeout: float = 60) -> int:
        """Ask it to end, as Kubernetes does, and give its exit code."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """End it as a power cut does, as far as it can tell."""
        self.process.kill()
        self.process.wait()

    def resident_bytes(self) -> int:
        """The most memory that it ever had resident."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")


class Stream:
    """A topic, a source directory and any number of destinations."""

    def __init__(self, kafka: Kafka, directory: Path, partitions: int = 1, topic: str | None = None) -> None:
        self.kafka = kafka
        self.directory = directory
        self.topic = topic or kafka.create_topic(partitions=partitions)
        self.source = directory / "source"
        self.destination = directory / "destination"
        self.source.mkdir()
        self.destination.mkdir()
        self.services: list[Service] = []

    def uploader(self, directory: Path | None = None, **settings: object) -> Service:
        """Start an uploader; settings by their names."""
        return self._start("penstock-uploader", {"directory": directory or self.source} | settings)

    def downloader(self, directory: Path | None = None, **settings: object) -> Service:
        """Start a downloader; settings by their names."""
        directory = directory or self.destination
        if settings.get("group_protocol", "classic") == "classic":
            # So that the partitions of one that was killed are given to another soon.
            settings.setdefault("kafka", "session.timeout.ms=2000\nheartbeat.interval.ms=300")
        return self._start(
            "penstock-downloader", {"directory": directory, "group": f"{self.topic}-group"} | settings
        )

    def _start(self, script: str, settings: dict[str, object]) -> Service:
        known = {"bootstrap_servers": self.kafka.bootstrap_servers, "topic": self.topic}
        extra = settings.pop("environment", {})
        assert isinstance(extra, dict)
        kafka = [
            f"{name}={value}"
            for name, value in self.kafka.client_config().items()
            if name != "bootstrap.servers"
        ]
        settings["kafka"] = "\n".join([*kafka, str(settings.get("kafka", ""))])
        environment = {f"PENSTOCK_{name.upper()}": str(value) for name, value in (known | settings).items()}
        log = self.directory / f"{script}-{len(self.services)}.log"
        service = Service(script, environment | extra, log)
        self.services.append(service)
        return service

    def await_delivery(
        self, timeout: float = 60, destination: Path | None = None, source: Path | None = None
    ) -> None:
        """Wait until the destination holds exactly what the source holds: names, bytes, mtimes and modes."""
        source, destination = source or self.source, destination or self.destination

        def difference(look: Callable[[Path], dict[str, Any]]) -> list[str]:
            here, there = look(source), look(destination)
            return [
                f"{path!r}: {here.get(path)} at the source, {there.get(path)} at the destination"
                for path in sorted(here.keys() | there.keys())
                if here.get(path) != there.get(path)
            ]

        try:
            eventually(lambda: not difference(listing), timeout, describe="the destination equals the source")
            assert not difference(snapshot), difference(snapshot)
        except AssertionError:
            logs = "\n".join(f"--- {service.log.name}\n{service.said[-3000:]}" for service in self.services)
            missing = difference(snapshot)
            raise AssertionError(f"{len(missing)} files differ: {missing[:5]}\n{logs}") from None

    def close(self) -> None:
        for service in self.services:
            if service.running:
                service.kill()


def listing(directory: Path) -> dict[str, tuple[int, int, str]]:
    """What a directory holds but for our own state: size, mtime (ns) and mode by relative path."""
    found = {}
    for path in files_of(directory):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found[str(path.relative_to(directory))] = (
                status.st_size,
                status.st_mtime_ns,
                oct(status.st_mode & 0o777),
            )
    return found


def snapshot(directory: Path) -> dict[str, tuple[int, int, str, str]]:
    """The same, and the digest of each file."""
    found = {}
    for path, seen in listing(directory).items():
        with contextlib.suppress(FileNotFoundError):
            found[path] = (*seen, digest_of(directory / path))
    return found


def digest_of(path: Path) -> str:
    """The BLAKE3 of a file of any size."""
    hasher = blake3()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def files_of(directory: Path) -> Iterator[Path]:
    """All regular files below a directory but those of our own state."""
    for root, directories, names in os.walk(directory):
        if ".penstock" in directories:
            directories.remove(".penstock")
        for name in names:
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path


class Witness:
    """Reads everything at a destination, over and over, and remembers what should never have been seen.

    `allow` a file's content before it is written at the source; anything else under that path is torn.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.torn: list[str] = []
        self.looks = 0
        self._allowed: dict[str, set[bytes]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def allow(self, path: str, data: bytes) -> None:
        self._allowed.setdefault(path, set()).add(blake3(data).digest())

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.looks > 0
        assert self.torn == []

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            for path in files_of(self.directory):
                try:
                    data = path.read_bytes()
                except FileNotFoundError:
                    continue
                name = str(path.relative_to(self.directory))
                if blake3(data).digest() not in self._allowed.get(name, ()):
                    self.torn.append(f"{name}: {len(data)} bytes that were never a version of it")
            self.looks += 1

"""What `penstock demo` does, step by step."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from penstock import display, progress
from penstock.broker import Broker
from penstock.broker.ports import free_ports
from penstock.demo import samples
from penstock.demo.errors import DemoFailed
from penstock.demo.following import Follower
from penstock.demo.processes import OwnCommand
from penstock.demo.proof import HAS_MODES, prove, seems_arrived
from penstock.demo.registry import OwnRegistry
from penstock.demo.report import Confirmation, Report, Result
from penstock.demo.writing import Writer
from penstock.registry_client import DEFAULT_URL
from penstock.verification.hashing import Hashed
from penstock_uploader.settings import UploaderSettings
from servicekit.events import EVENTS_TOPIC, receipts_topic
from servicekit.exceptions import UnknownTopic
from servicekit.topics import Topics

TOPIC = "demo"
PARTITIONS = 4
READY_SECONDS = 60.0
"""How long a service may take from its start until it is ready."""
STALL_SECONDS = 60.0
"""So long without a sign of life of any file means that what is missing will not come."""
SPARE_BYTES = 256 * 1024 * 1024


class Demo:
    """One run. Everything that it starts or writes is gone when it is left."""

    def __init__(self, directory: str | None, *, keep_running: bool, as_json: bool) -> None:
        self._given = directory
        self._keep_running = keep_running
        self._as_json = as_json
        self._state: Path | None = None
        self._registry: OwnRegistry | None = None
        self._console = progress.error_console()
        self._chunk_size = int(UploaderSettings.model_fields["chunk_size"].default)

    def run(self) -> int:
        """Run it; return the exit code. Raises PenstockError or BrokerError if it cannot even begin."""
        if self._given is not None:
            _check_directory(self._given)
        with _interruptible(), ExitStack() as stack:
            scratch = Path(stack.enter_context(_temporary_directory()))
            self._source = self._given or str(scratch / "source")
            self._destination = str(scratch / "destination")
            for needed in (self._source, self._destination):
                os.makedirs(needed, exist_ok=True)
            expected, left_out = samples.files_below(self._source)
            if self._given is not None and not expected:
                raise DemoFailed(f"there are no files in {self._given!r}: name a directory that has some")
            self._check_space(expected)
            broker = self._start_broker(stack)
            uploader, downloader = self._start_services(stack, scratch, broker)
            report = self._stream(broker, (uploader, downloader), expected, left_out)
            self._show(report)
            if self._keep_running:
                self._wait(broker, scratch, (uploader, downloader))
            with self._step("Stopping") as done:
                for running in (uploader, downloader, self._registry):
                    if running is not None:
                        running.order_stop()
                stack.close()
                done("Stopped everything, removed all that was temporary")
        return 0 if report.ok else 1

    # Starting

    def _start_broker(self, stack: ExitStack) -> Broker:
        with self._step("Starting a Kafka broker") as done:
            broker = stack.enter_context(Broker(progress=self._say))
            topics = Topics(_settings(broker))
            # Its own and that of telemetry; the one with the receipts is the services' to make.
            topics.ensure_topic(TOPIC, partitions=PARTITIONS, config={"retention.ms": "-1"})
            topics.ensure_topic(EVENTS_TOPIC, partitions=1)
            done(f"Apache Kafka at {broker.bootstrap_servers}, topic {TOPIC!r} with {PARTITIONS} partitions")
        return broker

    def _start_services(
        self, stack: ExitStack, scratch: Path, broker: Broker
    ) -> tuple[OwnCommand, OwnCommand]:
        ports = free_ports(2)
        common = ["--topic", TOPIC, "--bootstrap-servers", broker.bootstrap_servers]
        watch = ["watch", self._source, *common]
        if self._given is not None:
            # Somebody's directory is read, and nothing else.
            self._state = scratch / "state"
            self._state.mkdir()
            watch += ["--state-dir", str(self._state)]
        download = ["download", self._destination, *common]
        services = []
        with self._step("Starting uploader, downloader and registry") as done:
            if OwnRegistry.is_installed():
                self._registry = stack.enter_context(OwnRegistry(scratch, broker.bootstrap_servers))
            for arguments, port in zip((watch, download), ports, strict=True):
                service = OwnCommand(
                    [*arguments, "--metrics-port", str(port)],
                    log=scratch / f"{arguments[0]}.log",
                    remove_if_orphaned=scratch,
                )
                services.append(stack.enter_context(service))
            for service, port in zip(services, ports, strict=True):
                _await_ready(service, port)
            if self._registry is not None:
                self._registry = self._await_registry(stack, self._registry, scratch, broker)
            done("The uploader watches, the downloader waits, the registry answers")
        self._say(f"  from  {display.shown(self._source)}")
        self._say(f"  to    {display.shown(self._destination)}")
        if self._registry is not None:
            self._say(f"  page  {self._registry.url}")
        return services[0], services[1]

    def _await_registry(
        self, stack: ExitStack, registry: OwnRegistry, scratch: Path, broker: Broker
    ) -> OwnRegistry:
        """Wait for the registry, or for one at another port if somebody else was faster to take the usual."""
        _await(lambda: registry.ready() or not registry.running, (), "its page")
        if registry.running:
            return registry
        again = stack.enter_context(OwnRegistry(scratch, broker.bootstrap_servers, usual_port=False))
        _await(again.ready, (again,), "its page")
        return again

    def _check_space(self, expected: list[str]) -> None:
        if self._given is not None:
            size = sum(_size(self._source, path) for path in expected)
        else:
            size = sum(sample.size for sample in samples.samples()) * 3 // 2
        needed = 2 * size + SPARE_BYTES  # once in Kafka, once at the destination
        free = shutil.disk_usage(self._destination).free
        if free < needed:
            raise DemoFailed(
                f"the demo needs {display.size(needed)} of disk at {os.path.dirname(self._destination)!r}, "
                f"{display.size(free)} are free: make room, or set TMPDIR to a directory on another disk"
            )

    # Streaming

    def _stream(
        self, broker: Broker, services: tuple[OwnCommand, OwnCommand], expected: list[str], left_out: int
    ) -> Report:
        topics = Topics(_settings(broker))
        _await(lambda: _exists(topics, receipts_topic(TOPIC)), services, "the topic for receipts")
        board = progress.board("arrived")
        follower = Follower(
            broker.bootstrap_servers,
            TOPIC,
            board,
            lambda path: seems_arrived(self._source, self._destination, path),
        )
        began = time.time()
        writer = Writer(Path(self._source), board) if self._given is None else None
        if writer is None:
            board.expect(len(expected), sum(_size(self._source, path) for path in expected))
            if left_out:
                self._say(f"  {display.count(left_out, 'link')} or other special files are left out")
        try:
            follower.start()
            with board:
                if writer is not None:
                    writer.start()
                missing = self._await_all(broker, follower, services, writer, expected)
        finally:
            if writer is not None:
                writer.stop()
            follower.stop()
        if writer is not None:
            expected, _ = samples.files_below(self._source)
        began = min((r.closed_at or began for r in follower.delivered.values()), default=began)
        last = max((r.visible_at or r.time for r in follower.delivered.values()), default=began)
        with self._step("Reading everything again, at the source and at the destination") as done:
            results = [self._result(path, follower) for path in expected]
            compared = "BLAKE3, mtime and mode" if HAS_MODES else "BLAKE3 and mtime"
            done(f"Read everything again: {compared} of each file at both ends")
        confirmation = self._confirm(results)
        if missing:
            for service in services:
                if not service.running:
                    self._say(f"{service.name} has ended: {service.last_words()}")
        return Report(results, max(0.0, last - began), confirmation)

    def _confirm(self, results: list[Result]) -> Confirmation | None:
        """Ask the registry about what has arrived, as `penstock verify` does."""
        if self._registry is None:
            return None
        arrived = [
            Hashed(result.proof.path, result.proof.size, result.proof.digest)
            for result in results
            if result.problem is None
        ]
        with self._step("Asking the registry for the receipts") as done:
            missing = self._registry.missing(TOPIC, self._source, arrived)
            done(f"The registry has receipts for {len(arrived) - len(missing)} of {len(arrived)} files")
        if not self._registry.running:
            self._say(f"{self._registry.name} has ended: {self._registry.last_words()}")
        return Confirmation(self._registry.url, len(arrived) - len(missing), missing)

    def _await_all(
        self,
        broker: Broker,
        follower: Follower,
        services: tuple[OwnCommand, OwnCommand],
        writer: Writer | None,
        expected: list[str],
    ) -> list[str]:
        """Wait until all that was written has arrived, or will not; return what is missing."""
        while True:
            if writer is not None and writer.failure is not None:
                raise writer.failure
            if follower.failure is not None:
                raise follower.failure
            broker.check_running()
            writing = writer is not None and not writer.done
            if not writing:
                if writer is not None:
                    expected = writer.written
                missing = [
                    path
                    for path in expected
                    if path not in follower.delivered
                    or not seems_arrived(self._source, self._destination, path)
                ]
                hopeless = all(path in follower.rejected for path in missing)
                if hopeless or follower.idle_seconds > STALL_SECONDS:
                    return missing
            if not all(service.running for service in services):
                return expected
            time.sleep(0.05)

    def _result(self, path: str, follower: Follower) -> Result:
        proof = prove(self._source, self._destination, path)
        rejected = follower.rejected.get(path)
        if proof.problem is not None and rejected is not None:
            problem = f"refused by the destination: {rejected.reason} ({rejected.detail})"
            proof = type(proof)(proof.path, proof.size, proof.digest, problem)
        receipt = follower.delivered.get(path)
        seconds = None
        if receipt is not None and receipt.closed_at is not None and receipt.visible_at is not None:
            seconds = max(0.0, receipt.visible_at - receipt.closed_at)
        return Result(
            proof,
            chunks=max(1, math.ceil(proof.size / self._chunk_size)),
            seconds=seconds,
            receipt_digest=receipt.digest if receipt is not None else None,
        )

    def _wait(self, broker: Broker, scratch: Path, services: tuple[OwnCommand, OwnCommand]) -> None:
        source = display.shown(self._source)
        ask = shlex.quote(source) + (f" --state-dir {self._state}" if self._state is not None else "")
        for line in (
            "",
            "Everything keeps running until Ctrl-C.",
            f"  put files into    {source}",
            f"  they arrive in    {display.shown(self._destination)}",
            f"  Kafka answers at  {broker.bootstrap_servers}, topic {TOPIC}",
            *self._ways_to_look(source),
            f"  what was sent     penstock ledger {ask}",
            f"  wait for all      penstock wait-drained {ask}",
            f"  logs              {scratch}/watch.log, download.log, registry.log",
        ):
            self._say(line)
        with contextlib.suppress(KeyboardInterrupt):
            while all(service.running for service in services):
                broker.check_running()
                time.sleep(0.2)
            for service in services:
                if not service.running:
                    raise DemoFailed(f"{service.name} has ended: {service.last_words()}")

    def _ways_to_look(self, source: str) -> list[str]:
        if self._registry is None:
            return []
        there = "" if self._registry.url == DEFAULT_URL else f" --registry {self._registry.url}"
        return [
            f"  see it all at     {self._registry.url}",
            f"  how it goes       penstock status --watch{there}",
            f"  what has arrived  penstock verify {shlex.quote(source)} --stream {TOPIC}{there}",
        ]

    # Telling

    def _show(self, report: Report) -> None:
        from rich.console import Console

        if self._as_json:
            sys.stdout.write(json.dumps(report.as_json(), indent=2) + "\n")
            sys.stdout.flush()
            return
        width = None if sys.stdout.isatty() else 110
        report.print(Console(markup=False, emoji=False, highlight=False, width=width))

    def _say(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text(line), soft_wrap=True)

    @contextmanager
    def _step(self, doing: str) -> Iterator[Callable[[str], None]]:
        """Show what is being done, and then what was done and how long that took."""
        from rich.text import Text

        began = time.monotonic()
        said: list[str] = []
        terminal = progress.is_terminal(sys.stderr)
        waiting = self._console.status(Text(f"{doing} ...")) if terminal else contextlib.nullcontext()
        if not terminal:
            self._say(f"{doing} ...")
        with waiting:
            yield said.append
        mark = Text("✓ ", style="green") if progress.utf8(self._console) else Text("- ")
        took = Text(f"  {display.seconds(time.monotonic() - began)}", style="dim")
        self._console.print(mark + Text(said[0] if said else doing) + took, soft_wrap=True)


def _settings(broker: Broker) -> UploaderSettings:
    return UploaderSettings(directory=".", topic=TOPIC, bootstrap_servers=broker.bootstrap_servers)


def _exists(topics: Topics, name: str) -> bool:
    try:
        topics.describe(name)
    except UnknownTopic:
        return False
    return True


def _await(condition: Callable[[], bool], services: tuple[OwnCommand, ...], what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        for service in services:
            if not service.running:
                raise DemoFailed(f"{service.name} has ended: {service.last_words()}")
        if time.monotonic() > deadline:
            names = " and ".join(f"{service.name} ({service.last_words()})" for service in services)
            raise DemoFailed(f"{what} is not there after {READY_SECONDS:.0f} s: {names}")
        time.sleep(0.05)


def _await_ready(service: OwnCommand, port: int) -> None:
    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    _await(ready, (service,), f"{service.name}, ready,")


def _size(directory: str, path: str) -> int:
    try:
        return os.stat(os.path.join(directory, path)).st_size
    except OSError:
        return 0


def _check_directory(directory: str) -> None:
    from servicekit.exceptions import ConfigurationError

    try:
        with os.scandir(directory):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"--directory {directory!r} cannot be read: {error.strerror}; name one with files to stream"
        ) from None


@contextmanager
def _temporary_directory() -> Iterator[str]:
    try:
        path = tempfile.mkdtemp(prefix="penstock-demo-")
    except OSError as error:
        raise DemoFailed(f"no temporary directory can be made ({error.strerror}): set TMPDIR") from None
    try:
        yield os.path.realpath(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT and SIGTERM interrupt once; what is cleaned up after that is not interrupted again."""
    asked = threading.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""A destination without Kafka: the real parts of a downloader, and a topic that is a list.

What Kafka would remember (committed offsets, receipts) is in files, so that a process can be killed at any
moment and another one can go on.
"""

import json
import os
import signal
import threading
import time
from pathlib import Path

from confluent_kafka import TopicPartition

from chunkproto import Record
from chunkproto.native import encode_header
from penstock_downloader.answers import Answers
from penstock_downloader.commits import Commits
from penstock_downloader.delivery import DeliveryThread
from penstock_downloader.exceptions import SinkUnavailable
from penstock_downloader.holdings import Holdings
from penstock_downloader.identity import open_destination
from penstock_downloader.intake import Intake
from penstock_downloader.partials import Partials
from penstock_downloader.quarantine import Quarantine
from penstock_downloader.settings import DownloaderSettings
from penstock_downloader.sink import FileSystemSink
from servicekit import faults
from servicekit.events import encode
from servicekit.lifecycle import Deadline
from servicekit.topics import LogRange

TOPIC, TOPIC_ID = "topic", "topic-id"


class Message:
    """A record as a consumer gives it."""

    def __init__(self, offset: int, headers: list[tuple[str, bytes]], value: bytes) -> None:
        self._offset, self._headers, self._value = offset, headers, value

    @classmethod
    def of(cls, offset: int, record: Record, value: bytes) -> "Message":
        return cls(offset, [("penstock", encode_header(record))], value)

    def offset(self) -> int:
        return self._offset

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers

    def value(self) -> bytes:
        return self._value

    def key(self) -> bytes:
        return b"key"


class Broker:
    """Committed offsets of one partition, and receipts, in files."""

    def __init__(self, directory: Path) -> None:
        self._committed = directory / "committed.json"
        self._receipts = directory / "receipts.jsonl"
        self._waiting: list = []

    def committed(self) -> tuple[int | None, str | None]:
        if not self._committed.exists():
            return None, None
        offset, metadata = json.loads(self._committed.read_text())
        return offset, metadata

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        assert not asynchronous
        (one,) = offsets
        draft = self._committed.with_suffix(".draft")
        draft.write_text(json.dumps([one.offset, one.metadata]))
        draft.rename(self._committed)
        return offsets

    def send(self, event, acknowledged) -> None:
        _, value = encode(event)
        with self._receipts.open("ab") as stream:
            stream.write(value + b"\n")
        self._waiting.append(acknowledged)

    def poll(self, timeout: float = 0.0) -> None:
        waiting, self._waiting = self._waiting, []
        for acknowledged in waiting:
            acknowledged()

    def __len__(self) -> int:
        return len(self._waiting)

    def receipts(self) -> list[dict]:
        if not self._receipts.exists():
            return []
        return [json.loads(line) for line in self._receipts.read_bytes().splitlines()]


class Conditions:
    def __init__(self) -> None:
        self.problem: SinkUnavailable | None = None

    def sink_unavailable(self, problem: SinkUnavailable | None) -> None:
        self.problem = problem

    def confirm(self, tenure) -> bool:
        return not tenure.is_over


class Destination:
    """One downloader process, from its assignment of the one partition to its end."""

    def __init__(self, directory: Path, records, *, log_start: int = 0, **settings) -> None:
        root = directory / "root"
        root.mkdir(exist_ok=True)
        self.records = records
        self.log_start = log_start
        given = DownloaderSettings(topic=TOPIC, directory=str(root), group="destination", **settings)
        where = open_destination(given.directory, given.group)
        self.broker = Broker(directory)
        self.conditions = Conditions()
        sinks = [
            FileSystemSink(
                str(root),
                on_conflict=given.on_conflict,
                source_conflict=given.source_conflict,
                portable_names=given.requires_portable_names,
            )
            for _ in range(2)
        ]
        self.sinks = sinks
        partials = Partials(where.partials, max_open=2)
        wake = threading.Event()
        self.delivery = DeliveryThread(sinks[0], partials, self.conditions, retry_seconds=0.01, wake=wake.set)
        quarantine = Quarantine(where.quarantine, int(given.quarantine_bytes))
        answers = Answers(self.broker, quarantine, destination=where.id, topic=TOPIC, observer=None)
        self.intake = Intake(given, where.id, partials, self.delivery, answers, None)
        self.commits = Commits(given, partials, self.intake)
        self.holdings = Holdings(
            where, partials, sinks[1], self.delivery, self.intake, answers, self.commits, wake
        )
        self.open()

    def open(self) -> None:
        offset, metadata = self.broker.committed()
        log_range = LogRange(self.log_start, len(self.records))
        self.started_at = self.holdings.open(0, TOPIC_ID, offset, metadata, log_range)

    @property
    def partition(self):
        return self.holdings.get(0)

    @property
    def is_done(self) -> bool:
        return self.partition.position >= len(self.records) and self.partition.is_settled

    def step(self, *, commit: bool = False) -> None:
        """Take one record, if there is one left, and do what is due."""
        partition = self.partition
        if self.intake.is_stuck:
            try:
                self.intake.retry()
            except SinkUnavailable:
                time.sleep(0.001)
        elif partition.position < len(self.records) and not partition.restarting:
            offset = partition.position
            given = self.records[offset]
            message = given if isinstance(given, Message) else Message.of(offset, *given)
            try:
                self.intake.take(partition, offset, message, time.monotonic())
            except SinkUnavailable as problem:
                self.conditions.problem = problem
        self.holdings.take_outcomes()
        self.broker.poll()
        if commit and not self.intake.is_stuck:
            self.commits.flush(self.broker, [partition], Deadline(10))
        for one in self.holdings.to_restart():
            self.holdings.abandon([one.number])
            self.open()
        if self.delivery.failure is not None:
            raise self.delivery.failure

    def run(self, *, commit_every: int = 3) -> None:
        """Take all records, and finish what is under way."""
        number = 0
        deadline = time.monotonic() + 30
        while not self.is_done:
            number += 1
            self.step(commit=number % commit_every == 0)
            assert time.monotonic() < deadline, "not done within 30 s"
        self.stop()

    def stop(self) -> None:
        """Let go of the partition in good order."""
        self.holdings.hand_over(self.broker, [0], Deadline(10))
        self.close()

    def close(self) -> None:
        assert self.delivery.close(10)
        self.commits.close()
        for sink in self.sinks:
            sink.close()


def run_in_child(directory: Path, records, faults_to_arm: dict[str, str], **given) -> bool:
    """Run a destination in a process of its own; whether it ended by itself (and not killed by a fault)."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            faults.arm(faults_to_arm)
            Destination(directory, records, **given).run()
            code = 0
        except BaseException:  # noqa: BLE001 - the child of a fork must not return into pytest
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0, "the child failed; see its traceback above"
    return True

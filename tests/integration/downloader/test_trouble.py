"""What cannot work is refused in one line; what is only away or full is waited for, visibly."""

import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from tests.integration.downloader.sender import Sender, content, delivered_ids, rejections
from tests.kafka import Kafka
from tests.stream import Service, Stream, files_of
from tests.waiting import eventually


def refused(service: Service, code: int = 1) -> str:
    """Wait for a service that refuses to run; give its one line."""
    assert service.wait() == code, service.said
    lines = [line for line in service.said.splitlines() if line.startswith("penstock-downloader: ")]
    assert len(lines) == 1, service.said
    assert "Traceback" not in service.said
    return lines[0]


def test_an_unknown_topic_is_refused(stream: Stream):
    assert "'nowhere'" in refused(stream.downloader(topic="nowhere"))


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_directory_is_refused(stream: Stream, name: str):
    (stream.directory / "file").write_text("")
    line = refused(stream.downloader(stream.directory / name), code=2)
    assert repr(str(stream.directory / name)) in line


def test_a_directory_that_is_another_destination_is_refused_by_name(stream: Stream):
    assert stream.downloader(until_idle=0.1).wait() == 0
    line = refused(stream.downloader(group="another"), code=2)
    assert f"{stream.topic}-group" in line
    assert "'another'" in line


def test_a_directory_that_is_also_the_source_of_the_topic_is_refused(stream: Stream):
    uploader = stream.uploader()
    eventually(lambda: "watching" in uploader.said, describe="the directory is watched")
    line = refused(stream.downloader(stream.source), code=2)
    assert "go round" in line
    other = stream.kafka.create_topic()
    assert stream.downloader(stream.source, topic=other, until_idle=0.1).wait() == 0


def test_a_new_directory_under_an_old_group_says_that_earlier_files_are_elsewhere(
    stream: Stream, sender: Sender
):
    sender.send("earlier", b"earlier")
    first = stream.downloader(until_idle=0.3)
    assert first.wait() == 0
    assert "elsewhere" not in first.said
    again = stream.downloader(until_idle=0.3)
    assert again.wait() == 0
    assert "elsewhere" not in again.said
    new = stream.directory / "new"
    new.mkdir()
    service = stream.downloader(new, until_idle=0.3)
    assert service.wait() == 0
    assert "only later ones come here" in service.said


def test_a_wrong_setting_is_refused_by_name(stream: Stream):
    assert "PENSTOCK_ON_CONFLICT" in refused(stream.downloader(on_conflict="ask"), code=2)


def test_without_a_broker_it_waits_and_says_so(tmp_path: Path):
    log = tmp_path / "log"
    (tmp_path / "d").mkdir()
    environment = {
        "PENSTOCK_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "PENSTOCK_TOPIC": "t",
        "PENSTOCK_DIRECTORY": str(tmp_path / "d"),
    }
    service = Service("penstock-downloader", environment, log)
    eventually(
        lambda: "no Kafka broker answers at 127.0.0.1:1" in service.said, describe=lambda: service.said
    )
    assert service.stop() == 0


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def url_of(service: Service) -> str:
    def found() -> str:
        return next((w for w in service.said.split() if w.startswith("http://")), "")

    return eventually(found, describe="metrics are served").removesuffix("/metrics")


def test_metrics_and_health_can_be_asked_for(stream: Stream, sender: Sender):
    service = stream.downloader(metrics_port=0)
    sender.send("file", content(10_000))
    sender.put_raw(b"garbage", [])
    sender.flush()
    url = url_of(service)
    eventually(lambda: get(f"{url}/readyz")[0] == 200, describe=lambda: get(f"{url}/readyz"))
    eventually(lambda: delivered_ids(stream), describe="the file is delivered")
    eventually(lambda: 'refused_total{reason="foreign"} 1.0' in get(f"{url}/metrics")[1])
    assert get(f"{url}/healthz")[0] == 200
    text = get(f"{url}/metrics")[1]
    for line in (
        "penstock_downloader_files_delivered_total 1.0",
        "penstock_downloader_delivered_bytes_total 10000.0",
        "penstock_downloader_close_to_visible_seconds_count 1.0",
    ):
        assert line in text
    eventually(lambda: 'penstock_downloader_lag_records{partition="0"} 0.0' in get(f"{url}/metrics")[1])
    assert service.stop() == 0


@pytest.fixture
def small_disk(stream: Stream) -> Iterator[Path]:
    """A destination of 4 MiB."""
    path = stream.directory / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", path]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount; the unit tests do the same with fail points")
    yield path
    for service in stream.services:
        if service.running:
            service.kill()
    subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("size", [200_000, 2_000_000])
def test_a_full_disk_is_waited_for_visibly_and_nothing_is_refused(
    stream: Stream, sender: Sender, small_disk: Path, size: int
):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3_000_000))
    for number in range(2_000_000 // size):
        sender.send(f"file-{number}", content(size, number), chunk_size=250_000)
    service = stream.downloader(small_disk, metrics_port=0)
    url = url_of(service)
    eventually(lambda: "No space left" in get(f"{url}/readyz")[1], describe=lambda: service.said)
    assert get(f"{url}/readyz")[0] == 503
    ballast.unlink()
    eventually(lambda: len(delivered_ids(stream)) == len(sender.sent), describe=lambda: service.said)
    eventually(lambda: get(f"{url}/readyz")[0] == 200, describe=lambda: get(f"{url}/readyz"))
    assert rejections(stream) == {}
    for path, data in sender.sent.items():
        assert (small_disk / path).read_bytes() == data
    assert service.stop() == 0


def test_a_broker_that_goes_and_comes_back_costs_nothing(own_broker, make_stream):
    broker = own_broker()
    stream = make_stream(Kafka(broker.client_config()))
    sender = Sender(stream.kafka, stream.topic)
    service = stream.downloader()
    sender.send("before", content(100_000))
    eventually(lambda: (stream.destination / "before").exists(), describe=lambda: service.said)
    broker.stop()
    eventually(lambda: "waiting for one" in service.said, describe=lambda: service.said)
    broker.start()
    sender.send("after", content(100_000, 1))
    eventually(lambda: (stream.destination / "after").exists(), timeout=60, describe=lambda: service.said)
    eventually(lambda: len(set(delivered_ids(stream))) == 2, timeout=60, describe=lambda: service.said)
    assert service.stop() == 0


def allow(kafka: Kafka, user: str, resource: ResourceType, name: str, *operations: AclOperation) -> None:
    for operation in operations:
        acl = AclBinding(
            resource,
            name,
            ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for done in kafka.admin.create_acls([acl]).values():
            done.result(30)


def test_who_may_not_write_receipts_is_refused_at_the_start_with_what_mends_it(own_broker, make_stream):
    broker = own_broker(users={"destination": "secret-of-destination"})
    admin = Kafka(broker.client_config())
    topic = admin.create_topic()
    admin.create_topic(f"{topic}.receipts")
    user = Kafka(broker.client_config("destination"))
    reading = (AclOperation.READ, AclOperation.DESCRIBE)
    allow(admin, "destination", ResourceType.TOPIC, topic, *reading, AclOperation.DESCRIBE_CONFIGS)
    allow(admin, "destination", ResourceType.TOPIC, f"{topic}.receipts", AclOperation.DESCRIBE)
    stream = make_stream(user, topic=topic)
    line = refused(stream.downloader(until_idle=0.3))
    assert f"kafka-acls --bootstrap-server {broker.bootstrap_servers} --add" in line
    assert f"{topic}.receipts" in line
    assert "secret-of-destination" not in line
    allow(admin, "destination", ResourceType.TOPIC, f"{topic}.receipts", AclOperation.WRITE)
    line = refused(stream.downloader(until_idle=0.3))
    assert "group" in line
    allow(admin, "destination", ResourceType.GROUP, f"{topic}-group", AclOperation.READ)
    Sender(admin, topic).send("file", b"bytes")
    service = stream.downloader(until_idle=0.5)
    assert service.wait() == 0, service.said
    assert (stream.destination / "file").read_bytes() == b"bytes"


def test_a_process_that_was_stopped_does_not_write_into_what_another_has_delivered(make_stream):
    stream = make_stream()
    sender = Sender(stream.kafka, stream.topic)
    records = sender.records("large", content(400_000), chunk_size=4096)
    sender.put(records[:50])
    timeouts = "session.timeout.ms=6000 heartbeat.interval.ms=500"
    sleeper = stream.downloader(kafka=timeouts, commit_interval_seconds=0.1)
    group = f"{stream.topic}-group"
    eventually(lambda: stream.kafka.committed(group, stream.topic)[0].offset == 50, describe="a checkpoint")
    sleeper.process.send_signal(signal.SIGSTOP)
    try:
        sender.put(records[50:])
        successor = stream.downloader(kafka=timeouts)
        target = stream.destination / "large"
        eventually(target.exists, describe=lambda: successor.said)
        before = os.stat(target)
    finally:
        sleeper.process.send_signal(signal.SIGCONT)
    sender.send("next", b"next")
    eventually(lambda: len(list(files_of(stream.destination))) == 2, describe=lambda: sleeper.said)
    assert os.stat(target).st_mtime_ns == before.st_mtime_ns
    assert target.read_bytes() == content(400_000)
    assert sleeper.stop() == 0
    assert successor.stop() == 0
    assert len(delivered_ids(stream)) == 2


def test_a_process_that_was_stopped_writes_nothing_until_a_broker_has_said_that_it_still_counts(
    own_broker, make_stream
):
    broker = own_broker()
    stream = make_stream(Kafka(broker.client_config()))
    sender = Sender(stream.kafka, stream.topic)
    timeouts = "session.timeout.ms=6000 heartbeat.interval.ms=500"
    # One failure: its next attempt is a second later, when it has been stopped.
    full = {"PENSTOCK_FAIL_AT": "delivery.whole-write=ENOSPC:1"}
    sleeper = stream.downloader(kafka=timeouts, environment=full)
    eventually(lambda: "from offset" in sleeper.said, describe="it has the partition")
    sender.send("file", b"bytes")
    eventually(lambda: "takes nothing" in sleeper.said, describe="it waits for the disk")
    sleeper.process.send_signal(signal.SIGSTOP)
    try:
        successor = stream.downloader(kafka=timeouts)
        target = stream.destination / "file"
        eventually(target.exists, timeout=60, describe=lambda: successor.said)
        eventually(lambda: len(delivered_ids(stream)) == 1, describe="its receipt")
        target.unlink()
        assert successor.stop() == 0
        broker.stop()
    finally:
        sleeper.process.send_signal(signal.SIGCONT)
    eventually(lambda: "no Kafka broker answers" in sleeper.said, describe=lambda: sleeper.said)
    broker.start()
    sender.send("next", b"next")
    eventually((stream.destination / "next").exists, timeout=60, describe=lambda: sleeper.said)
    assert not target.exists(), sleeper.said
    assert sleeper.stop() == 0

"""Waiting for what a topic should hold."""

from tests.integration.uploader.wire import files, versions
from tests.stream import Service, Stream
from tests.waiting import eventually

from penstock_uploader.control_client import ControlClient, default_state_dir


def await_on_topic(
    stream: Stream, expected: dict[str, bytes], timeout: float = 30, *, gaps: bool = False
) -> None:
    """Wait until the newest complete versions on the topic are exactly these."""

    def difference() -> dict[str, object]:
        there = files(stream.kafka, stream.topic, gaps=gaps)
        return {
            path: f"expected {describe(expected.get(path))}, found {describe(there.get(path))}"
            for path in expected.keys() | there.keys()
            if expected.get(path) != there.get(path)
        }

    eventually(
        lambda: not difference(),
        timeout,
        describe=lambda: f"{difference()}\n{stream.services[-1].said[-4000:]}",
    )


def describe(data: bytes | None) -> str:
    return "nothing" if data is None else f"{len(data)} bytes {data[:20]!r}"


def watching(service: Service) -> Service:
    """Wait until the uploader watches."""
    return saying(service, "watching ")


def saying(service: Service, text: str, timeout: float = 30) -> Service:
    """Wait until the service's log has this text."""
    eventually(lambda: text in service.said, timeout, describe=lambda: f"{text!r} in {service.said[-4000:]}")
    return service


def sent_versions(stream: Stream, path: str) -> list[bytes]:
    return versions(stream.kafka, stream.topic).get(path, [])


def control(stream: Stream) -> ControlClient:
    """Ask the uploader of the stream's source."""
    return ControlClient(default_state_dir(str(stream.source)))


def drained(stream: Stream, timeout: float = 30, **asked: object) -> dict[str, object]:
    return control(stream).drained(timeout, **asked)

"""Whatever is in the directory arrives on the topic, byte for byte, once per version."""

import os
from pathlib import Path

from tests.integration.uploader.wire import files, versions
from tests.stream import Stream
from tests.waiting import eventually

CHUNK = 4096


def on_topic(stream: Stream) -> dict[str, bytes]:
    return files(stream.kafka, stream.topic)


def await_on_topic(stream: Stream, expected: dict[str, bytes], timeout: float = 30) -> None:
    def difference() -> dict[str, object]:
        there = on_topic(stream)
        return {
            path: (len(expected.get(path, b"-")), len(there.get(path, b"-")))
            for path in expected.keys() | there.keys()
            if expected.get(path) != there.get(path)
        }

    eventually(
        lambda: not difference(),
        timeout,
        describe=lambda: f"{difference()}\n{stream.services[-1].said[-4000:]}",
    )


def test_files_of_every_size_arrive_byte_for_byte(stream: Stream):
    expected = {
        "empty": b"",
        "one": b"x",
        "chunk": os.urandom(CHUNK),
        "chunk-and-one": os.urandom(CHUNK + 1),
        "many": os.urandom(100 * CHUNK + 17),
    }
    for name, data in expected.items():
        (stream.source / name).write_bytes(data)
    stream.uploader(chunk_size=CHUNK)
    await_on_topic(stream, expected)


def test_a_file_that_is_written_while_watched_is_sent_when_it_is_closed(stream: Stream):
    service = stream.uploader(settle_seconds=600)
    eventually(lambda: "watching" in service.said, describe=lambda: service.said)
    with (stream.source / "a").open("wb") as file:
        file.write(b"first ")
        file.flush()
        file.write(b"second")
    await_on_topic(stream, {"a": b"first second"})
    assert versions(stream.kafka, stream.topic) == {"a": [b"first second"]}
    assert service.stop() == 0, service.said


def test_odd_names_arrive_as_they_are(stream: Stream):
    names = [
        b"with space;semi",
        b"new\nline",
        "emoji-\N{BANANA}".encode(),
        b"not-utf8-\xff\xfe",
        b"n" * 255,
        b"/".join(b"d%d" % level for level in range(40)) + b"/deep",
        b"-dash",
        b"back\\slash",
    ]
    expected = {}
    for name in names:
        path = Path(os.fsdecode(os.path.join(os.fsencode(stream.source), name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
        expected[name.decode("utf-8", "surrogateescape")] = name
    stream.uploader(settle_seconds=0.1)
    await_on_topic(stream, expected)

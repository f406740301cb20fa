"""Any number of downloaders share the work of one group, joining and leaving while files flow."""

import pytest
from blake3 import blake3
from tests.stream import Witness, files_of
from tests.waiting import eventually

from servicekit import events


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("most", [2, 3, 5])
def test_downloaders_join_and_leave_while_files_flow(make_stream, most, protocol):
    stream = make_stream(partitions=6)
    if protocol == "consumer":
        stream.kafka.shorten_session(f"{stream.topic}-group")
    files = {
        f"{number}": blake3(b"%d" % number).digest(length=[100, 90_000][number % 2]) for number in range(120)
    }
    with Witness(stream.destination) as witness:
        stream.uploader(chunk_size=4096)
        replicas = [stream.downloader(group_protocol=protocol)]
        for at, (path, data) in enumerate(files.items()):
            witness.allow(path, data)
            (stream.source / path).write_bytes(data)
            if at % 20 == 10 and len(replicas) < most:
                replicas.append(stream.downloader(group_protocol=protocol))
            if at % 20 == 19:
                eventually(
                    lambda least=at // 2: sum(1 for _ in files_of(stream.destination)) > least,
                    timeout=60,
                    describe="half of what was sent arrives",
                )
        replicas.pop(0).stop()
        replicas.pop(0).kill()
        if not replicas:
            stream.downloader(group_protocol=protocol)
        for number in range(10):
            data = b"last %d" % number
            witness.allow(f"last-{number}", data)
            (stream.source / f"last-{number}").write_bytes(data)
        stream.await_delivery(timeout=120)
    delivered = [
        event.upload_id
        for message in stream.kafka.records(events.receipts_topic(stream.topic))
        if isinstance(event := events.decode(message.value()), events.FileDelivered)
    ]
    assert len(set(delivered)) == len(files) + 10

"""The promise of assembly and checkpoint together, for any topic and any crashes.

The model: uploads interleaved on one partition, with the repetitions that an uploader's restarts make, and a
destination that is killed at any moment, loses all that was not synced, sometimes finds itself on another
volume, and goes on from what it last committed. A delivered log tells it what it has delivered.
"""

from dataclasses import dataclass, field

from hypothesis import event, given
from hypothesis import strategies as st

from chunkproto import Abort, Chunk, Description, End, Record, UploadId, Whole, next_upload_id
from chunkproto.assembly import Assembly, Complete, Deliver, Discard, Ignore, Refuse, Write
from chunkproto.checkpoint import Checkpoint

CHUNK = 4


def content(number: int, size: int) -> bytes:
    return bytes((number * 37 + at) % 251 for at in range(size))


@st.composite
def topics(draw) -> tuple[list[tuple[Record, bytes]], dict[UploadId, bytes]]:
    """Give the records of a partition, and the files that a destination must end up with."""
    scripts, expected = [], {}
    for number in range(draw(st.integers(1, 5))):
        size = draw(st.integers(0, 5 * CHUNK))
        upload_id = next_upload_id(number, 0, None)
        file = Description(f"f{number}", size, CHUNK, 0, None, "s")
        data = content(number, size)
        if file.plan.is_single:
            sent = [(Whole(upload_id, file, bytes(32), 0), data)]
        else:
            sent = [
                (
                    Chunk(upload_id, index, file.plan.offset(index), file if index == 0 else None),
                    data[file.plan.offset(index) :][:CHUNK],
                )
                for index in range(file.plan.count)
            ]
            sent.append((End(upload_id, file, bytes(32), file.plan.count, 0), b""))
        script = []
        for at in range(len(sent)):
            script.append(sent[at])
            if draw(st.integers(0, 9)) == 0:
                # The uploader was killed here, and repeats what it has no acknowledgement of.
                script += sent[draw(st.integers(0, at)) : at + 1]
        if len(sent) > 1 and draw(st.integers(0, 5)) == 0:
            script = script[: draw(st.integers(1, len(script) - 1))]
            if not any(isinstance(record, End) for record, _ in script):
                script.append((Abort(upload_id, file.path, "s", "changed"), b""))
                data = None
        if data is not None:
            expected[upload_id] = data
        scripts.append(script)
    records = []
    while any(scripts):
        turn = draw(st.sampled_from([script for script in scripts if script]))
        records.append(turn.pop(0))
    return records, expected


@dataclass
class Disk:
    """A volume: partials as written and as durable, and what was delivered."""

    written: dict[UploadId, bytearray] = field(default_factory=dict)
    durable: dict[UploadId, bytes] = field(default_factory=dict)
    delivered: dict[UploadId, bytes] = field(default_factory=dict)

    def crash(self) -> None:
        self.written = {upload_id: bytearray(data) for upload_id, data in self.durable.items()}

    def drop(self, upload_id: UploadId) -> None:
        self.written.pop(upload_id, None)
        self.durable.pop(upload_id, None)


class Destination:
    """One process: from its assignment to its crash."""

    def __init__(self, disk: Disk, committed: Checkpoint) -> None:
        self.disk = disk
        self.committed = committed
        entries = [entry for entry in committed.entries if entry.upload_id not in disk.delivered]
        resumed = [
            entry for entry in entries if len(disk.written.get(entry.upload_id, b"")) >= entry.chunks * CHUNK
        ]
        replayed = [entry for entry in entries if entry not in resumed]
        for entry in resumed:
            del disk.written[entry.upload_id][entry.chunks * CHUNK :]
        self.position = min([committed.offset, *(entry.first_offset for entry in replayed)])
        self.assembly = Assembly(
            lambda _: None,
            committed=committed.offset,
            resumed=resumed,
            replayed=[entry.upload_id for entry in replayed],
        )

    def take(self, record: Record, value: bytes) -> None:
        offset = self.position
        self.position += 1
        if record.upload_id in self.disk.delivered:
            return
        match self.assembly.feed(offset, record, len(value), 0.0):
            case Write(upload, position):
                partial = self.disk.written.setdefault(upload.upload_id, bytearray())
                assert len(partial) >= position
                partial[position : position + len(value)] = value
            case Complete(upload, _):
                self.disk.delivered[upload.upload_id] = bytes(self.disk.written[upload.upload_id])
                self.disk.drop(upload.upload_id)
                self.assembly.forget(upload.upload_id)
            case Deliver(whole):
                self.disk.delivered[whole.upload_id] = value
            case Discard(upload_id):
                self.disk.drop(upload_id)
            case Refuse() as refusal:
                raise AssertionError(f"nothing here deserves refusal: {refusal}")
            case Ignore():
                pass

    def commit(self, sync: bool) -> None:
        if sync:
            for upload in self.assembly:
                upload.begin_sync()
                if upload.upload_id in self.disk.written:
                    self.disk.durable[upload.upload_id] = bytes(self.disk.written[upload.upload_id])
                upload.finish_sync()
        checkpoint = self.assembly.checkpoint(self.position)
        if checkpoint.offset < self.committed.offset:
            event("a commit would go back")
            return
        self.committed = Checkpoint.decode(checkpoint.offset, checkpoint.encode_metadata("t"), "t")


@given(topics(), st.data())
def test_every_file_is_delivered_once_and_whole_whatever_crashes(topic, data):
    records, expected = topic
    disk = Disk()
    destination = Destination(disk, Checkpoint(0))
    crashes = 0
    while destination.position < len(records):
        match data.draw(st.sampled_from(["take", "take", "take", "take", "commit", "sync", "crash", "move"])):
            case "take":
                destination.take(*records[destination.position])
            case "commit":
                destination.commit(sync=False)
            case "sync":
                destination.commit(sync=True)
            case crash if crashes < 4:
                crashes += 1
                disk.crash()
                if crash == "move":
                    disk.written.clear()
                    disk.durable.clear()
                destination = Destination(disk, destination.committed)
            case _:
                destination.take(*records[destination.position])
    assert disk.delivered == expected


@given(topics(), st.data())
def test_commits_never_go_back_within_an_assignment(topic, data):
    records, _ = topic
    destination = Destination(Disk(), Checkpoint(0))
    for record, value in records:
        destination.take(record, value)
        if data.draw(st.booleans()):
            before = destination.committed.offset
            destination.commit(sync=data.draw(st.booleans()))
            assert destination.committed.offset >= before
            checkpoint = destination.assembly.checkpoint(destination.position)
            assert checkpoint.offset >= before

"""What a downloader tells of itself."""

from tests.stream import Stream
from tests.waiting import eventually

from servicekit.events import ServiceHeartbeat, decode


def beats(stream: Stream, topic: str) -> list[ServiceHeartbeat]:
    events = [decode(record.value()) for record in stream.kafka.records(topic)]
    return [event for event in events if isinstance(event, ServiceHeartbeat)]


def test_heartbeats_tell_what_is_done_and_the_last_one_that_it_stops(stream: Stream):
    topic = stream.kafka.create_topic()
    for number in range(10):
        (stream.source / f"f{number}").write_bytes(bytes(100))
    stream.uploader()
    service = stream.downloader(events_topic=topic, heartbeat_seconds=1)
    stream.await_delivery()
    eventually(lambda: sum(beat.n_messages_read for beat in beats(stream, topic)) == 10)
    assert service.stop() == 0

    *running, last = beats(stream, topic)

    about = {
        "topic": stream.topic,
        "destination": f"{stream.topic}-group",
        "directory": str(stream.destination),
        "interval_seconds": 1.0,
    }
    for beat in (*running, last):
        assert beat.service == "downloader"
        assert beat.program_id == f"{stream.topic}-group/{beat.host}"
        assert {name: beat.status[name] for name in about} == about
    assert {beat.status["state"] for beat in running} == {"running"}
    assert [0] in [beat.status["partitions"] for beat in running]
    assert last.status["state"] == "stopped"
    for counter in ("n_messages_processed", "n_messages_produced"):
        assert sum(getattr(beat, counter) for beat in (*running, last)) == 10
    assert sum(beat.n_bytes_read for beat in (*running, last)) == 1000


def test_replicas_on_one_host_have_names_of_their_own_and_find_them_again(stream: Stream):
    topic = stream.kafka.create_topic()

    def names(state: str) -> set[str]:
        found = beats(stream, topic)
        return {beat.program_id.rpartition(beat.host)[2] for beat in found if beat.status["state"] == state}

    first = stream.downloader(events_topic=topic, heartbeat_seconds=1)
    eventually(lambda: names("running") == {""})
    stream.downloader(events_topic=topic, heartbeat_seconds=1)
    eventually(lambda: names("running") == {"", "-2"})
    first.kill()
    before = len(beats(stream, topic))
    stream.downloader(events_topic=topic, heartbeat_seconds=1)
    eventually(lambda: any(b.program_id.endswith(b.host) for b in beats(stream, topic)[before + 1 :]))

    assert names("running") == {"", "-2"}
    assert names("stopped") == set()

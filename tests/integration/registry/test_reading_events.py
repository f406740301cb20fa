"""All that is said gets into the tables, whatever is said beside it and whenever its topic comes."""

import time

import pytest
from tests.integration.registry.saying import lives_of_files, records_of, say
from tests.waiting import eventually

from servicekit.events import FileDelivered, encode


def states(registry) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in registry.tables()["files"]:
        found[row[5]] = found.get(row[5], 0) + 1
    return found


def test_every_file_is_known_and_its_answer(kafka, topic, events, make_registry):
    registry = make_registry(streams=[topic], events=events).start()
    say(kafka, *records_of(events, lives_of_files(topic, 200)))

    registry.await_read()

    assert states(registry) == {"delivered": 200}
    page = registry.get(f"/files?stream={topic}&state=delivered&limit=1000")
    assert len(page["items"]) == 200
    assert registry.metric("penstock_delivered_files_total") == 200
    assert registry.metric("penstock_rejected_files_total") == 40
    assert registry.metric("penstock_registry_records_read_total") >= 200


def test_a_new_database_learns_the_same_again(kafka, topic, events, make_registry):
    first = make_registry(streams=[topic], events=events).start()
    say(kafka, *records_of(events, lives_of_files(topic, 100)))
    first.await_read()
    first.stop()

    # The same group: what Kafka holds of its offsets counts for nothing.
    second = make_registry(streams=[topic], events=events, group=first.group).start()
    second.await_read()

    assert second.tables() == first.tables()


def test_kafka_is_told_how_far_it_is(kafka, topic, events, make_registry):
    registry = make_registry(streams=[topic], events=events).start()
    say(kafka, *records_of(events, lives_of_files(topic, 10)))
    registry.await_read()

    ends = kafka.end_offsets(events)
    eventually(
        lambda: kafka.committed(registry.group, events)[0].offset == ends[0],
        describe="the group has no lag",
    )


def test_the_receipts_of_a_stream_that_begins_later_are_found(kafka, topic, events, make_registry):
    registry = make_registry(streams=[f"{topic}*"], events=events).start()
    later = kafka.create_topic(f"{topic}.later")
    kafka.create_topic(f"{later}.receipts", partitions=3)
    say(kafka, *records_of(events, lives_of_files(later, 10)))

    registry.await_read(events, f"{later}.receipts", timeout=20)

    assert states(registry) == {"delivered": 10}


def test_streams_that_were_not_asked_for_are_not_read(kafka, topic, events, make_registry):
    other = kafka.create_topic()
    kafka.create_topic(f"{other}.receipts")
    registry = make_registry(streams=[topic], events=events).start()
    said = [event for event in lives_of_files(other, 5) if isinstance(event, FileDelivered)]
    say(kafka, *records_of(events, said))
    say(kafka, *records_of(events, lives_of_files(topic, 5)))

    registry.await_read()

    assert [row[1] for row in registry.tables()["streams"]] == [topic]


def test_a_topic_that_was_made_again_is_read_from_its_start(kafka, topic, events, make_registry):
    registry = make_registry(streams=[topic], events=events).start()
    receipts = f"{topic}.receipts"
    said = [event for event in lives_of_files(topic, 60) if hasattr(event, "topic_id")]
    say(kafka, *records_of(events, said[:40]))
    registry.await_read(receipts)

    kafka.delete_topic(receipts)
    kafka.create_topic(receipts)
    # As many records as there were before: the position alone would tell nothing.
    say(kafka, *records_of(events, said[-44:]))

    known = {(str(event.upload_id), event.type) for event in said}

    def learned() -> bool:
        rows = registry.tables()["receipts"]
        return {str(row[0]) for row in rows} == {upload for upload, _ in known}

    eventually(learned, timeout=40, describe=lambda: f"all is learned: {registry.service.said[-2000:]}")


def test_a_topic_that_was_made_again_while_the_registry_was_away_is_read_from_its_start(
    kafka, topic, events, make_registry
):
    registry = make_registry(streams=[topic], events=events).start()
    receipts = f"{topic}.receipts"
    said = [event for event in lives_of_files(topic, 40) if hasattr(event, "topic_id")]
    say(kafka, *records_of(events, said[:20]))
    registry.await_read(receipts)
    registry.stop()

    kafka.delete_topic(receipts)
    kafka.create_topic(receipts)
    say(kafka, *records_of(events, said[20:]))
    registry.start()

    eventually(
        lambda: len(registry.tables()["receipts"]) == len(said),
        describe=lambda: f"all is learned: {registry.service.said[-2000:]}",
    )


def test_what_retention_was_faster_with_is_counted_and_said(kafka, topic, events, make_registry):
    registry = make_registry(streams=[topic], events=events).start()
    said = [event for event in lives_of_files(topic, 40) if isinstance(event, FileDelivered)]
    say(kafka, *records_of(events, said[:10]))
    registry.await_read(f"{topic}.receipts")
    registry.stop()
    say(kafka, *records_of(events, said[10:]))
    kafka.delete_records(f"{topic}.receipts", {0: 25})

    registry.start()
    registry.await_read(f"{topic}.receipts")

    assert registry.metric("penstock_registry_records_missed_total") == 15
    assert f"{topic}.receipts, partition 0: 15 records were deleted before they were read" in (
        registry.service.said
    )
    assert len(registry.tables()["receipts"]) == 25


POISON = [
    b"",
    None,
    b"\x00\xff garbage",
    b"[" * 100_000,
    b'{"specversion": "1.0"}',
    b'{"specversion": "1.0", "type": "dev.penstock.file.delivered", "data": {}}',
    b'{"specversion": "1.0", "type": "\\ud800\\u0000\\u001b[31m", "data": {}}',
    b'{"a": 1e999, "b": NaN, "c": ' + b"9" * 5000 + b"}",
    b"x" * 500_000,
]


class TestBadInput:
    def test_is_kept_aside_counted_and_never_stops_the_line(self, kafka, topic, events, make_registry):
        registry = make_registry(streams=[topic], events=events).start()
        lives = records_of(events, lives_of_files(topic, 30))
        poison = [(where, b"key", value) for where in (events, f"{topic}.receipts") for value in POISON]

        say(kafka, *lives[:40], *poison, *lives[40:])
        registry.await_read()

        assert states(registry) == {"delivered": 30}
        problems = registry.get("/problems")["items"]
        assert len(problems) == len(poison)
        assert {problem["topic"] for problem in problems} == {events, f"{topic}.receipts"}
        assert registry.metric("penstock_registry_records_kept_aside_total") == len(poison)
        assert registry.is_ready()
        assert registry.service.said.count("is kept aside") == 2  # once a topic and minute

    def test_receipts_on_the_events_topic_are_forged_and_count_nowhere(
        self, kafka, topic, events, make_registry
    ):
        registry = make_registry(streams=[topic], events=events).start()
        lives = lives_of_files(topic, 10)
        forged = [event for event in lives if isinstance(event, FileDelivered)]
        honest = [event for event in lives if not hasattr(event, "topic_id")]

        say(kafka, *records_of(events, honest), *((events, *encode(event)) for event in forged))
        registry.await_read(events)

        assert states(registry) == {"uploaded": 10}
        assert not registry.tables()["receipts"]
        reasons = {problem["reason"] for problem in registry.get("/problems")["items"]}
        assert reasons == {
            "dev.penstock.file.delivered counts only on the topic with the receipts of its stream"
        }

    @pytest.mark.parametrize(
        "name",
        [
            "'; DROP TABLE files; --",
            "<script>alert(1)</script>",
            "a\nb\x1b[31m\x7f",
            "d/" * 1000 + "x" * 2096,
            "not utf-8 \udcff\udcfe",
            "%s%n{}$(reboot)`id`",
            "\u202egnp.exe",
            "x" * 4096,
        ],
        ids=["sql", "html", "control", "deep", "bytes", "format", "bidi", "long"],
    )
    def test_names_are_only_names(self, kafka, topic, events, make_registry, name):
        registry = make_registry(streams=[topic], events=events).start()
        lives = [
            event.model_copy(update={"path": name})
            for event in lives_of_files(topic, 2)
            if event.path == "run1/1.raw"
        ]

        say(kafka, *records_of(events, lives))
        registry.await_read()

        assert not registry.get("/problems")["items"]
        (row,) = registry.tables()["files"]
        assert row[3] == name.encode("utf-8", "surrogateescape")
        (item,) = registry.get(f"/files?stream={topic}")["items"]
        assert item["state"] == "delivered"
        assert (
            item["path"].encode()
            == name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").encode()
        )

    def test_names_that_no_file_can_have_are_kept_aside(self, kafka, topic, events, make_registry):
        registry = make_registry(streams=[topic], events=events).start()
        [life] = [event for event in lives_of_files(topic, 2) if isinstance(event, FileDelivered)][1:]
        values = [
            encode(life)[1].replace(b"run1/1.raw", bad)
            for bad in (b"a\\u0000b", b"\\ud800", b"x" * 4097, b"\xff")
        ]

        say(kafka, *((f"{topic}.receipts", b"lab", value) for value in values))
        registry.await_read(f"{topic}.receipts")

        assert len(registry.get("/problems")["items"]) == len(values)
        assert not registry.tables()["files"]


def test_how_far_it_is_behind_is_a_metric(kafka, topic, events, make_registry):
    registry = make_registry(streams=[topic], events=events).start()
    say(kafka, *records_of(events, lives_of_files(topic, 10)))
    began = time.monotonic()
    registry.await_read()

    eventually(lambda: registry.metric("penstock_registry_behind_seconds") == 0, describe="it caught up")
    assert time.monotonic() - began < 30

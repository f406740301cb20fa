"""Who may say what, and what becomes of the rest."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_registry.records import REASON_CHARACTERS, KnownTopics, TopicKind, reason_of
from penstock_registry.store.batch import Beat
from servicekit.events import FileDelivered, FileDiscovered, FileUploading, ServiceHeartbeat, encode
from servicekit.exceptions import NotOurEvent

TOPICS = KnownTopics(events="penstock.events", heartbeats=["msi-beats"])
UPLOAD = "019a0000-0000-7000-8000-000000000001"

DELIVERED = FileDelivered(
    time=1.8e9, destination="archive", topic="raw", topic_id="x" * 22, partition=0, upload_id=UPLOAD,
    source_id="lab", path="a.raw", size=5, offset=7, digest="ab" * 32,
)  # fmt: skip
DISCOVERED = FileDiscovered(time=1.8e9, source_id="lab", path="a.raw", size=5, topic="raw")
HEARTBEAT = ServiceHeartbeat(time=1.8e9, program_id="p", service="uploader", host="h", version="1")


def understood(topic, event, topics=TOPICS):
    return topics.understand(topic, *encode(event))


def refused(topic, event, **record):
    with pytest.raises(NotOurEvent) as refusal:
        TOPICS.understand(topic, *encode(event), **record)
    return str(refusal.value)


class TestWhoMaySayWhat:
    def test_receipts_come_by_the_receipts_topic_of_their_stream(self):
        assert understood("raw.receipts", DELIVERED) == DELIVERED

    def test_telemetry_comes_by_the_events_topic(self):
        assert understood("penstock.events", DISCOVERED) == DISCOVERED
        assert understood("penstock.events", HEARTBEAT) == HEARTBEAT

    @pytest.mark.parametrize("topic", ["penstock.events", "other.receipts", "raw.receipts.receipts"])
    def test_a_receipt_anywhere_else_is_forged(self, topic):
        assert "dev.penstock.file.delivered" in refused(topic, DELIVERED)

    @pytest.mark.parametrize("event", [DISCOVERED, HEARTBEAT])
    def test_telemetry_on_a_receipts_topic_does_not_count(self, event):
        assert "counts only on the topic with telemetry" in refused("raw.receipts", event)

    def test_nothing_of_ours_counts_on_openmsistreams_topics(self):
        for event in (DELIVERED, DISCOVERED, HEARTBEAT):
            refused("msi-beats", event)

    def test_openmsistreams_heartbeats_are_understood_there_only(self):
        key, value = b"p_heartbeat", b'{"timestamp": "2026-01-31T12:00:00"}'

        assert isinstance(TOPICS.understand("msi-beats", key, value), Beat)
        for topic in ("penstock.events", "raw.receipts"):
            with pytest.raises(NotOurEvent):
                TOPICS.understand(topic, key, value)

    def test_what_no_database_can_hold_is_refused_before_it_gets_there(self):
        assert "NUL" in refused("penstock.events", DISCOVERED.model_copy(update={"source_id": "a\0b"}))

    def test_the_content_of_a_file_is_no_event(self):
        assert "record of a file" in refused("raw.receipts", DELIVERED, is_of_file=True)
        assert "record of a file" in refused("penstock.events", HEARTBEAT, is_of_file=True)


class TestClocks:
    WRITTEN = 1.8e9

    def test_may_be_an_hour_ahead_of_the_record(self):
        ahead = HEARTBEAT.model_copy(update={"time": self.WRITTEN + 3599})

        assert TOPICS.understand("penstock.events", *encode(ahead), written_at=self.WRITTEN) == ahead

    @pytest.mark.parametrize("event", [HEARTBEAT, DISCOVERED, DELIVERED])
    def test_of_the_future_are_put_aside(self, event):
        topic = "raw.receipts" if event is DELIVERED else "penstock.events"
        ahead = event.model_copy(update={"time": self.WRITTEN + 3601})

        assert refused(topic, ahead, written_at=self.WRITTEN).startswith("time: more than an hour")

    def test_of_deliveries_count_too(self):
        ahead = DELIVERED.model_copy(update={"visible_at": self.WRITTEN + 3601})

        assert refused("raw.receipts", ahead, written_at=self.WRITTEN).startswith("visible_at: more than")

    def test_of_openmsistream_too(self):
        key, value = b"p_heartbeat", b'{"timestamp": "2036-01-31T12:00:00"}'

        with pytest.raises(NotOurEvent, match="time: more than an hour"):
            TOPICS.understand("msi-beats", key, value, written_at=self.WRITTEN)


class TestUploadIds:
    @pytest.mark.parametrize(
        "upload_id", ["ffffffff-ffff-ffff-ffff-ffffffffffff", "5f3b9c1e-8d1c-4c56-9a39-2f6f5a1b7c11"]
    )
    def test_are_of_version_7(self, upload_id):
        forged = DELIVERED.model_copy(update={"upload_id": upload_id})

        assert refused("raw.receipts", forged) == "upload_id: no UUIDv7"

    @pytest.mark.parametrize("field", ["upload_id", "version"])
    def test_of_the_future_would_outrank_all_real_ones(self, field):
        told = FileUploading(
            time=1.8e9, upload_id=UPLOAD, bytes_done=1, source_id="lab", path="a", size=5, topic="raw"
        )
        forged = told.model_copy(update={field: "ffffffff-ffff-7fff-bfff-ffffffffffff"})

        assert refused("penstock.events", forged, written_at=1.8e9).startswith(f"{field}: more than an hour")


class TestPatterns:
    def matched(self, topics, *names):
        return [name for name in names if any(re.match(pattern, name) for pattern in topics.patterns)]

    def test_all_streams_receipts_are_read_and_what_was_named(self):
        names = ["raw.receipts", "a.b-c_d.receipts", "penstock.events", "msi-beats"]

        assert self.matched(TOPICS, *names) == names
        assert not self.matched(
            TOPICS, "raw", "raw.receipts2", ".receipts2", "penstockXevents", "xpenstock.events", "msi-beats2"
        )

    def test_streams_are_chosen_by_globs(self):
        topics = KnownTopics(streams=["lab1.*", "raw-?"])

        assert self.matched(
            topics,
            "lab1.x.receipts",
            "lab1Xx.receipts",
            "raw-1.receipts",
            "raw-12.receipts",
            "other.receipts",
        ) == ["lab1.x.receipts", "raw-1.receipts"]

    def test_patterns_are_plain_enough_for_every_librdkafka(self):
        for pattern in KnownTopics(streams=["a*.?"], events="e.x", heartbeats=["h"]).patterns:
            assert re.fullmatch(r"\^[a-zA-Z0-9_.*\\-]+\$", pattern)

    def test_a_topic_says_one_kind_of_thing(self):
        assert TOPICS.kind_of("penstock.events") is TopicKind.EVENTS
        assert TOPICS.kind_of("msi-beats") is TopicKind.OPENMSI
        assert TOPICS.kind_of("raw.receipts") is TopicKind.RECEIPTS


class TestGarbage:
    @given(st.sampled_from(["raw.receipts", "penstock.events", "msi-beats"]), st.binary())
    def test_of_every_kind_is_refused(self, topic, value):
        with pytest.raises(NotOurEvent):
            TOPICS.understand(topic, b"key", value)

    @pytest.mark.parametrize("value", [None, b""])
    def test_an_empty_record_is_called_that(self, value):
        with pytest.raises(NotOurEvent, match="empty"):
            TOPICS.understand("raw.receipts", b"key", value)

    @given(st.text(alphabet=st.characters(), max_size=2000))
    def test_a_reason_is_one_bounded_line_that_any_database_can_hold(self, text):
        reason = reason_of(NotOurEvent(text))

        assert len(reason) <= REASON_CHARACTERS
        assert reason.isprintable()
        reason.encode()

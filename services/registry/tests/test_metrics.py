"""What Prometheus is told: what the tables know, and nothing that is not true."""

import re
import time
import uuid

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.waiting import eventually

from penstock_registry.known_metrics import LABEL_CHARACTERS, KnownMetrics
from penstock_registry.metrics import Behind
from penstock_registry.store.batch import Batch, Beat
from penstock_registry.store.store import Store
from servicekit.events import FileDelivered, FileRejected, FileUploaded

NOW = 1_800_000_000.0


@pytest.fixture
def store(tmp_path):
    with Store(f"sqlite:///{tmp_path / 'registry.db'}", clock=lambda: NOW) as store:
        store.migrate()
        yield store


def scrape(store, now=NOW):
    """All samples, as {name{labels}: value}."""
    registry = CollectorRegistry()
    registry.register(KnownMetrics(store.engine, clock=lambda: now))
    text = generate_latest(registry).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name + (repr(sorted(sample.labels.values())) if sample.labels else "")
            assert key not in found
            found[key] = sample.value
    return found


def upload_id(number):
    return str(uuid.UUID(int=(0x019A << 112) | (7 << 76) | (2 << 62) | number))


def uploaded(number, size=100, topic="raw"):
    return FileUploaded(
        time=NOW - 60, upload_id=upload_id(number), source_id="lab", path=f"{number}.raw", size=size,
        topic=topic, digest=f"{number:064x}", partition=0, first_offset=number, last_offset=number,
    )  # fmt: skip


def answered(kind, number, destination="archive", size=100, topic="raw", **more):
    return kind(
        time=NOW - 30, destination=destination, topic=topic, topic_id="t" * 22, partition=0,
        upload_id=upload_id(number), source_id="lab", path=f"{number}.raw", size=size, offset=number, **more,
    )  # fmt: skip


def delivered(number, **more):
    return answered(FileDelivered, number, digest=f"{number:064x}", **more)


def beat(at, read=1, *, kind="openmsi", program_id="reader-1", stopped=False):
    return Beat(kind, program_id, "msi-beats", "", "", at, (read, 10 * read, 0, 0, 0, 0), {}, stopped)


class TestStreams:
    def test_files_lag_and_totals_of_each_stream_and_destination(self, store):
        store.learn(
            Batch(
                events=[
                    *(uploaded(number) for number in range(1, 6)),
                    *(delivered(number) for number in range(1, 4)),
                    answered(FileRejected, 4, reason="too-large"),
                    delivered(1, destination="mirror"),
                ]
            )
        )

        seen = scrape(store)

        assert seen["penstock_stream_files['delivered', 'raw']"] == 3
        assert seen["penstock_stream_bytes['delivered', 'raw']"] == 300
        assert seen["penstock_stream_files['raw', 'rejected']"] == 1
        assert seen["penstock_stream_files['raw', 'uploaded']"] == 1
        assert seen["penstock_stream_lag_files['archive', 'raw']"] == 1
        assert seen["penstock_stream_lag_bytes['archive', 'raw']"] == 100
        assert seen["penstock_stream_lag_files['mirror', 'raw']"] == 4
        assert seen["penstock_stream_uploaded_files_total['raw']"] == 5
        assert seen["penstock_stream_uploaded_bytes_total['raw']"] == 500
        assert seen["penstock_delivered_files_total['archive', 'raw']"] == 3
        assert seen["penstock_delivered_bytes_total['mirror', 'raw']"] == 100
        assert seen["penstock_rejected_files_total['archive', 'raw']"] == 1
        assert seen["penstock_registry_database_up"] == 1

    def test_what_is_heard_again_counts_once(self, store):
        batch = Batch(events=[uploaded(1), delivered(1)])
        store.learn(batch)
        before = scrape(store)
        store.learn(batch)

        assert scrape(store) == before

    def test_a_hostile_name_is_a_safe_label_and_stays_unlike_others(self, store):
        names = ['x"} 7\n# HELP', "y" * 249, "z" * 248 + "\\"]
        store.learn(Batch(events=[uploaded(1), *(delivered(1, destination=name) for name in names)]))

        seen = [key for key in scrape(store) if key.startswith("penstock_delivered_files_total")]

        assert len(seen) == 3
        assert all(len(key) < LABEL_CHARACTERS + 100 for key in seen)


class TestPrograms:
    def key(self, name, kind="openmsi", program_id="reader-1"):
        return f"penstock_program_{name}{sorted([kind, program_id, 'msi-beats'])!r}"

    def test_counters_are_sums_of_heartbeats(self, store):
        store.learn(Batch(beats=[beat(NOW - 30, 5), beat(NOW - 20, 7)]))

        seen = scrape(store)

        assert seen[self.key("messages_read_total")] == 12
        assert seen[self.key("read_bytes_total")] == 120
        assert seen[self.key("messages_produced_total")] == 0
        assert seen[self.key("last_heartbeat_timestamp_seconds")] == NOW - 20
        assert seen[self.key("up")] == 1

    def test_they_never_go_down_whatever_comes_again_or_late_or_never(self, store):
        beats = [beat(NOW - 10 * age, age) for age in range(20, 0, -1)]
        order = [0, 3, 3, 1, 9, 5, 5, 19, 2, 19, 12, 0, 7]
        last = 0.0
        for number in order:
            store.learn(Batch(beats=[beats[number]]))
            now = scrape(store)[self.key("messages_read_total")]
            assert now >= last
            last = now

        assert last == sum(20 - number for number in set(order))

    def test_a_program_that_began_again_goes_on_with_its_sums(self, store):
        store.learn(Batch(beats=[beat(NOW - 30, 5)]))
        store.learn(Batch(beats=[beat(NOW - 20, 0, stopped=True)]))
        assert self.key("up") not in scrape(store)
        assert self.key("messages_read_total") in scrape(store)
        store.learn(Batch(beats=[beat(NOW - 10, 2)]))

        seen = scrape(store)

        assert seen[self.key("messages_read_total")] == 7
        assert seen[self.key("up")] == 1

    def test_one_that_falls_silent_is_seen(self, store):
        store.learn(Batch(beats=[beat(NOW - 20, 1), beat(NOW, 1)]))

        assert scrape(store, now=NOW + 59)[self.key("up")] == 1
        assert scrape(store, now=NOW + 61)[self.key("up")] == 0

    def test_one_that_another_has_replaced_is_not_taken_for_silent(self, store):
        status = {"topic": "raw", "destination": "archive", "interval_seconds": 10.0}
        for name, at in (("archive/pod-a", NOW - 100), ("archive/pod-b", NOW - 5)):
            store.learn(
                Batch(beats=[Beat("penstock", name, "downloader", "", "", at, (0,) * 6, status, False)])
            )

        up = {key for key in scrape(store) if key.startswith("penstock_program_up")}

        assert up == {"penstock_program_up['archive/pod-b', 'downloader', 'penstock']"}


class TestTrouble:
    def test_a_database_that_is_away_does_not_fail_the_scrape(self, tmp_path):
        with Store(f"sqlite:///{tmp_path / 'missing' / 'registry.db'}") as store:
            assert scrape(store) == {"penstock_registry_database_up": 0}

    def test_tables_that_are_not_there_yet_do_not_either(self, tmp_path):
        with Store(f"sqlite:///{tmp_path / 'registry.db'}") as store:
            assert scrape(store) == {"penstock_registry_database_up": 0}


class TestNames:
    def test_are_as_prometheus_has_them(self, store):
        store.learn(Batch(events=[uploaded(1), delivered(1)], beats=[beat(NOW)]))

        for key in scrape(store):
            name = key.partition("[")[0]
            assert re.fullmatch(r"penstock_[a-z_]+", name)
            assert "_files_bytes" not in name


class TestBehind:
    def test_nothing_to_read_is_not_behind(self):
        behind = Behind()
        assert behind.seconds == 0
        behind.learned(1.0)
        assert behind.seconds > 1e9
        behind.caught_up()
        assert behind.seconds == 0

    def test_who_cannot_read_falls_behind_from_then_on(self):
        behind = Behind()
        behind.learned(1.0)
        behind.caught_up()
        behind.cannot_read()
        assert 0 < eventually(lambda: behind.seconds) < 60

    def test_who_was_behind_when_reading_ended_still_is(self):
        behind = Behind()
        behind.learned(1.0)
        behind.cannot_read()
        assert behind.seconds > 1e9

    def test_a_partition_that_stands_still_is_behind_whatever_comes_from_others(self):
        behind = Behind()
        behind.stands_still(True)
        behind.learned(time.time() + 60)
        assert 0 < eventually(lambda: behind.seconds) < 60
        behind.caught_up()
        assert behind.seconds > 0
        behind.stands_still(False)
        assert behind.seconds == 0

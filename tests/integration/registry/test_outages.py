"""Whatever goes away and comes back, nothing is lost and nothing counts twice."""

import json
import random
import threading
import time
import urllib.error

import pytest
from sqlalchemy import make_url
from tests.integration.registry.saying import heartbeat, lives_of_files, records_of, say
from tests.kafka import Kafka
from tests.waiting import eventually

STREAM_FILES = 400


@pytest.fixture
def speaking(kafka, topic, events):
    """Something that tells of files, a few at a time, in the background: `join()` waits for its end."""
    lives = records_of(events, lives_of_files(topic, STREAM_FILES))
    beats = [heartbeat("uploader-1", time.time() - 3600 + n, n_bytes_produced=7) for n in range(50)]
    records = [*lives, *records_of(events, beats)]

    def speak() -> None:
        for begin in range(0, len(records), 40):
            say(kafka, *records[begin : begin + 40])

    thread = threading.Thread(target=speak)
    thread.start()
    yield thread
    thread.join()


def undisturbed(make_registry, topic, events):
    """What a registry knows that has read all of it in peace."""
    registry = make_registry(streams=[topic], events=events).start()
    registry.await_read()
    registry.stop()
    return registry.tables()


def test_killed_at_random_moments_it_ends_up_with_the_same_tables(
    kafka, topic, events, make_registry, speaking
):
    registry = make_registry(streams=[topic], events=events)
    chance = random.Random(4)
    for _ in range(4):
        registry.start(ready=False)
        speaking.join(chance.uniform(0, 1.5))
        registry.kill()
    registry.start()
    speaking.join()
    registry.await_read()

    assert registry.tables() == undisturbed(make_registry, topic, events)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
def test_a_kill_beside_the_commit_loses_nothing_and_doubles_nothing(
    kafka, topic, events, make_registry, request, where, when
):
    """Kafka is told after the database; where reading goes on is the database's to say."""
    database = "" if where == "sqlite" else request.getfixturevalue("postgres")
    say(kafka, *records_of(events, lives_of_files(topic, 50)))
    dying = make_registry(
        streams=[topic], events=events, database=database, crash_at=f"registry.learn.{when}-commit"
    )
    dying.start_only()
    assert dying.service.wait() == -9
    if where == "sqlite":
        database = dying.database
    known = make_registry(streams=[topic], events=events, database=database, group=dying.group).start()
    known.await_read()

    assert known.tables() == undisturbed(make_registry, topic, events)


def test_two_registries_may_share_one_sqlite_file(kafka, topic, events, make_registry, speaking):
    first = make_registry(streams=[topic], events=events).start()
    second = make_registry(streams=[topic], events=events, database=first.database).start()
    speaking.join()
    for registry in (first, second):
        registry.await_read()
        registry.stop()
        assert "waiting for it" not in registry.service.said

    assert first.tables() == undisturbed(make_registry, topic, events)


def test_a_file_that_is_no_database_ends_it_with_one_line(topic, events, make_registry, tmp_path):
    (tmp_path / "notes.txt").write_text("no database, but somebody's notes\n" * 100)
    registry = make_registry(streams=[topic], events=events, database=f"sqlite:///{tmp_path}/notes.txt")
    registry.start_only()
    assert registry.service.wait() == 1
    assert registry.service.said.splitlines()[-1].endswith(
        "notes.txt is no SQLite database: name another file"
    )
    assert (tmp_path / "notes.txt").read_text().startswith("no database")


def test_a_postgresql_that_stops_and_starts_again_loses_nothing(
    kafka, topic, events, make_registry, own_postgres, speaking
):
    server = own_postgres()
    registry = make_registry(streams=[topic], events=events, database=server.create_database("penstock"))
    registry.start()
    eventually(lambda: registry.tables()["files"], describe="it has begun to learn")

    server.stop()
    eventually(lambda: "database" in registry.problems(), describe="readiness says so")
    assert registry.metric("penstock_registry_database_up") == 0
    assert registry.service.said.count("waiting for it") == 1
    speaking.join()
    server.start()

    eventually(registry.is_ready, describe=lambda: f"it goes on: {registry.service.said[-2000:]}")
    registry.await_read()
    assert registry.tables() == undisturbed(make_registry, topic, events)
    assert registry.metric("penstock_registry_records_kept_aside_total") == 0
    assert "the database answers again" in registry.service.said
    password = str(make_url(registry.database).password)
    assert password == "None" or password not in registry.service.said


def test_a_postgresql_that_is_killed_loses_nothing_either(
    kafka, topic, events, make_registry, own_postgres, speaking
):
    server = own_postgres()
    registry = make_registry(streams=[topic], events=events, database=server.create_database("penstock"))
    registry.start()
    for _ in range(2):
        eventually(lambda: registry.tables()["files"], describe="it has begun to learn")
        server.kill()
        server.start()
    speaking.join()

    registry.await_read()
    assert registry.tables() == undisturbed(make_registry, topic, events)


def test_a_database_that_is_not_there_yet_is_waited_for(kafka, topic, events, make_registry, own_postgres):
    server = own_postgres()
    database = server.create_database("penstock")
    server.stop()
    say(kafka, *records_of(events, lives_of_files(topic, 5)))
    registry = make_registry(streams=[topic], events=events, database=database).start(ready=False)
    eventually(lambda: "waiting for it" in registry.service.said, describe="it waits visibly")
    assert "database" in registry.problems()
    with pytest.raises(urllib.error.HTTPError, match="503") as refused:
        registry.get("/streams")
    assert "does not answer" in json.load(refused.value)["detail"]
    refused.value.close()

    server.start()

    eventually(registry.is_ready, describe=lambda: f"it is ready: {registry.problems()}")
    registry.await_read()


def test_two_registries_share_one_database_and_one_may_die(kafka, topic, make_registry, postgres):
    # As many partitions as it takes to give each of them some.
    events = kafka.create_topic(partitions=4)
    first = make_registry(streams=[topic], events=events, database=postgres).start()
    second = make_registry(streams=[topic], events=events, database=postgres, group=first.group).start()
    eventually(
        lambda: (
            first.metric("penstock_registry_partitions") > 0 < second.metric("penstock_registry_partitions")
        ),
        describe="both read",
    )
    lives = records_of(events, lives_of_files(topic, 300))

    say(kafka, *lives[:700])
    first.kill()
    say(kafka, *lives[700:])

    second.await_read()
    assert second.tables() == undisturbed(make_registry, topic, events)


def test_a_broker_that_stops_and_starts_again_is_waited_for(own_broker, make_registry):
    broker = own_broker()
    kafka = Kafka(broker.client_config())
    topic, events = kafka.create_topic("raw"), kafka.create_topic("events")
    kafka.create_topic("raw.receipts")
    registry = make_registry(kafka=kafka, streams=[topic], events=events).start()
    lives = records_of(events, lives_of_files(topic, 100))
    say(kafka, *lives[:200])
    registry.await_read()

    broker.stop()
    eventually(lambda: "kafka" in registry.problems(), describe="readiness says so")
    assert registry.get("/streams")["items"], "what is known is still answered"
    broker.start()

    say(kafka, *lives[200:])
    registry.await_read()
    eventually(registry.is_ready, describe=lambda: f"it is ready: {registry.problems()}")
    assert registry.service.running
    assert len(registry.tables()["files"]) == 100

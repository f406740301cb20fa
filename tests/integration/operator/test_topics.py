"""Topics are made, enlarged, configured and deleted as a stream says, and never more than that."""

from dataclasses import replace

import pytest
from confluent_kafka import Consumer
from tests.integration.downloader.sender import Sender, content
from tests.kafka import Kafka, unique
from tests.waiting import eventually

from penstock_operator.kafka import (
    Cluster,
    TopicWanted,
    Watched,
    delete,
    failed_read,
    observe,
    prepare,
    topic_condition,
)
from servicekit.events import EVENTS_TOPIC, receipts_topic
from servicekit.exceptions import KafkaFailed, UnknownTopic

DAY = "86400000"


def wanted(**given) -> TopicWanted:
    return TopicWanted(unique("stream"), **({"partitions": 2} | given))


def config_of(cluster: Cluster, topic: str, name: str) -> str:
    return cluster.topics.describe(topic).config[name]


class TestPreparing:
    def test_makes_the_topic_with_settings_safe_for_files_and_its_receipts_topic(self, cluster):
        want = wanted(config={"max.message.bytes": "2000000"})

        found = prepare(cluster, want)

        assert found.topic == cluster.topics.describe(want.name)
        assert (found.topic.partitions, found.topic.retention_seconds) == (2, 7 * 86400)
        assert found.topic.config["cleanup.policy"] == "delete"
        assert found.topic.config["max.message.bytes"] == "2000000"
        assert found.created_topic_id == found.topic.topic_id
        receipts = cluster.topics.describe(receipts_topic(want.name))
        assert receipts.retention_seconds == 30 * 86400
        assert len(found.done) == 2
        assert found.differences == ()

    def test_again_changes_nothing(self, cluster):
        want = wanted(config={"retention.ms": DAY})
        first = prepare(cluster, want)
        again = prepare(cluster, want, first.created_topic_id)
        assert again == replace(first, done=())

    def test_adds_partitions_and_takes_none_away(self, cluster):
        want = wanted()
        first = prepare(cluster, want)
        more = prepare(cluster, replace(want, partitions=5), first.created_topic_id)
        assert more.topic.partitions == 5
        assert more.done == (f"Topic {want.name} has 5 partitions now, after 2.",)
        fewer = prepare(cluster, want, first.created_topic_id)
        assert (fewer.topic.partitions, fewer.done, fewer.differences) == (5, (), ())

    def test_sets_what_its_own_topic_should_have_and_nothing_else(self, kafka, cluster):
        want = wanted(config={"retention.ms": DAY})
        first = prepare(cluster, want)
        cluster.topics.set_config(want.name, {"segment.ms": "7200000"})  # somebody else's wish
        changed = prepare(cluster, replace(want, config={"retention.ms": "3600000"}), first.created_topic_id)
        assert changed.done == (f"Topic {want.name}: retention.ms=3600000 set.",)
        assert config_of(cluster, want.name, "retention.ms") == "3600000"
        assert config_of(cluster, want.name, "segment.ms") == "7200000"

    def test_makes_the_topic_that_all_streams_tell_of_themselves_in(self, own_broker, use):
        cluster = use(own_broker().client_config())
        with pytest.raises(UnknownTopic):
            cluster.topics.describe(EVENTS_TOPIC)
        prepare(cluster, wanted())
        assert cluster.topics.describe(EVENTS_TOPIC).partitions >= 1

    def test_lets_receipts_be_kept_for_as_long_as_files(self, cluster):
        want = wanted(config={"retention.ms": DAY})
        first = prepare(cluster, want)
        longer = replace(want, config={"retention.ms": str(90 * 86_400_000)})
        assert len(prepare(cluster, longer, first.created_topic_id).done) == 2
        assert cluster.topics.describe(receipts_topic(want.name)).retention_seconds == 90 * 86_400
        assert prepare(cluster, longer, first.created_topic_id).done == ()
        prepare(cluster, want, first.created_topic_id)
        assert cluster.topics.describe(receipts_topic(want.name)).retention_seconds == 90 * 86_400

    def test_leaves_the_configuration_of_a_topic_that_is_not_its_own_and_says_so(self, kafka, cluster):
        name = kafka.create_topic(partitions=2, config={"retention.ms": DAY})
        found = prepare(cluster, TopicWanted(name, 2, config={"retention.ms": "3600000"}))
        assert found.created_topic_id is None
        assert config_of(cluster, name, "retention.ms") == DAY
        (difference,) = found.differences
        assert f"retention.ms={DAY}, not retention.ms=3600000" in difference
        condition = topic_condition(found.topic, found.differences)
        assert (condition.status, condition.reason) == (True, "ConfigDiffers")

    def test_takes_a_topic_of_the_same_name_that_was_made_again_for_somebody_elses(self, kafka, cluster):
        want = wanted(config={"retention.ms": DAY})
        first = prepare(cluster, want)
        kafka.delete_topic(want.name)
        kafka.create_topic(want.name, partitions=2)
        found = prepare(cluster, want, first.created_topic_id)
        assert found.created_topic_id is None
        assert found.differences

    def test_names_a_value_that_kafka_refuses_and_goes_on(self, cluster):
        want = wanted(config={"retention.ms": DAY})
        first = prepare(cluster, want)
        found = prepare(
            cluster, replace(want, partitions=3, config={"retention.ms": "soon"}), first.created_topic_id
        )
        assert found.topic.partitions == 3
        (difference,) = found.differences
        assert "retention.ms" in difference
        assert "soon" in difference
        with pytest.raises(KafkaFailed, match="soon"):
            prepare(cluster, wanted(config={"retention.ms": "soon"}))

    def test_tells_a_replication_factor_that_no_cluster_of_this_size_can_have(self, cluster):
        with pytest.raises(KafkaFailed, match="eplication factor"):
            prepare(cluster, wanted(replication_factor=3))

    def test_a_topic_that_cannot_carry_files_is_told_with_what_to_change(self, kafka, cluster):
        name = kafka.create_topic(config={"cleanup.policy": "compact"})
        condition = topic_condition(cluster.topics.describe(name))
        assert (condition.type, condition.status, condition.reason) == ("TopicReady", False, "TopicRefused")
        assert "cleanup.policy=delete" in condition.message


class TestDeleting:
    @pytest.fixture
    def delivered(self, make_stream, cluster):
        """A stream whose topic the operator has made, with a file that has arrived."""
        want = wanted()
        created = prepare(cluster, want).created_topic_id
        stream = make_stream(topic=want.name)
        stream.created_topic_id = created
        stream.group = f"{want.name}-group"
        stream.reader = stream.downloader(commit_interval_seconds=0.1)
        Sender(stream.kafka, stream.topic).send("file", content(100))
        eventually(
            lambda: observe(cluster, [key := Watched(stream.topic, stream.group)])[key].reading.lag == 0,
            describe="the file is delivered",
        )
        assert stream.reader.stop() == 0
        return stream

    @staticmethod
    def ask(cluster, stream, **given):
        defaults = {"created_topic_id": stream.created_topic_id, "named_by": ()}
        return delete(cluster, stream.topic, stream.group, **(defaults | given))

    def test_takes_topic_and_receipts_when_all_is_delivered_and_may_be_repeated(self, delivered, cluster):
        done = self.ask(cluster, delivered)
        assert done.deleted == (delivered.topic, receipts_topic(delivered.topic))
        assert done.kept is None
        eventually(lambda: not cluster.topics.ids([delivered.topic]), describe="it is gone")
        again = self.ask(cluster, delivered)
        assert (again.deleted, again.kept) == ((), None)

    def test_goes_on_where_it_was_interrupted(self, delivered, cluster):
        assert cluster.topics.delete(delivered.topic)
        eventually(lambda: not cluster.topics.ids([delivered.topic]), describe="it is gone")
        assert self.ask(cluster, delivered).deleted == (receipts_topic(delivered.topic),)

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ({"named_by": ("lab.other",)}, "lab.other names it, too"),
            ({"created_topic_id": None}, "somebody else has made it"),
            ({"created_topic_id": "A" * 22}, "deleted ours and made this one"),
        ],
    )
    def test_stops_at_what_is_not_only_its_own(self, given, why, delivered, cluster):
        done = self.ask(cluster, delivered, **given)
        assert done.deleted == ()
        assert why in str(done.kept)
        assert not done.again
        assert cluster.topics.ids([delivered.topic])

    def test_stops_at_records_that_were_not_read(self, delivered, cluster):
        Sender(delivered.kafka, delivered.topic).send("late", content(100))
        done = self.ask(cluster, delivered)
        assert done.deleted == ()
        assert "has not read 1 records" in str(done.kept)

    def test_stops_at_an_unfinished_upload(self, delivered, cluster):
        sender = Sender(delivered.kafka, delivered.topic)
        sender.put(sender.records("begun", content(40_960))[:3])
        reader = delivered.downloader(commit_interval_seconds=0.1)
        key = Watched(delivered.topic, delivered.group)
        eventually(
            lambda: (found := observe(cluster, [key])[key].reading).unfinished == 1 and found.lag == 0,
            describe="an upload is unfinished",
        )
        assert reader.stop() == 0
        assert "1 uploads are unfinished" in str(self.ask(cluster, delivered).kept)

    def test_waits_for_downloaders_to_end(self, delivered, cluster):
        delivered.downloader()
        key = Watched(delivered.topic, delivered.group)
        eventually(
            lambda: observe(cluster, [key])[key].reading.group.members == 1, describe="a downloader is there"
        )
        done = self.ask(cluster, delivered)
        assert done.deleted == ()
        assert done.again


def test_offsets_go_with_their_topic_and_those_of_others_stay(own_broker, use):
    broker = own_broker(properties={"offsets.retention.check.interval.ms": "500"})
    kafka, cluster = Kafka(broker.client_config()), use(broker.client_config())
    want = wanted(partitions=1)
    created = prepare(cluster, want).created_topic_id
    other = kafka.create_topic()
    for name in (want.name, other):
        kafka.send(name, b"x")

    def read(group: str, *topics: str) -> None:
        consumer = Consumer(
            {**kafka.client_config(), "group.id": group, "auto.offset.reset": "earliest"}
            | {"enable.auto.commit": False}
        )
        consumer.subscribe(list(topics))
        for _ in topics:
            eventually(lambda: consumer.poll(0.1), describe=f"{group} reads")
        consumer.commit(asynchronous=False)
        consumer.close()

    read("alone", want.name)
    read("both", want.name, other)
    assert delete(cluster, want.name, "alone", created_topic_id=created, named_by=()).deleted
    eventually(
        lambda: (
            "alone" not in {group.group_id for group in kafka.admin.list_consumer_groups().result(10).valid}
        ),
        describe="the group that has no offsets left is gone",
    )
    assert kafka.committed("both", other)[0].offset == 1


def test_why_a_topic_is_not_known_is_its_condition(cluster):
    with pytest.raises(UnknownTopic) as error:
        cluster.topics.describe("no-such-topic")
    condition = topic_condition(failed_read(error.value))
    assert (condition.status, condition.reason) == (False, "TopicMissing")
    assert "penstock create-topic" in condition.message

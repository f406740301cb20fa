"""Whether a topic can carry our records: it could destroy them without a word."""

import pytest

from chunkproto.native import RECORD_OVERHEAD_BYTES
from servicekit.exceptions import TopicRefused
from servicekit.topics import TopicInfo, check_topic_can_carry, require_topic_can_carry

CHUNK = 512 * 1024


def topic(replication_factor=3, config_error=None, **config):
    defaults = {
        "cleanup.policy": "delete",
        "max.message.bytes": "1048588",
        "segment.bytes": "1073741824",
        "min.insync.replicas": "2",
        "retention.ms": "604800000",
        "retention.bytes": "-1",
    }
    given = {name.replace("_", "."): value for name, value in config.items()}
    return TopicInfo("raw", "id", 6, replication_factor, defaults | given, config_error)


def refusals(info):
    return [problem.message for problem in check_topic_can_carry(info, CHUNK) if problem.refused]


def warnings(info):
    return [problem.message for problem in check_topic_can_carry(info, CHUNK) if not problem.refused]


def test_kafkas_defaults_with_replicas_are_fine():
    assert check_topic_can_carry(topic(), CHUNK) == []


@pytest.mark.parametrize("policy", ["compact", "compact,delete", "delete,compact"])
def test_compaction_is_refused(policy):
    (message,) = refusals(topic(cleanup_policy=policy))

    assert "cleanup.policy=delete" in message


@pytest.mark.parametrize("key", ["max_message_bytes", "segment_bytes"])
def test_a_limit_below_chunk_and_overhead_is_refused_with_both_cures(key):
    needed = CHUNK + RECORD_OVERHEAD_BYTES

    assert refusals(topic(**{key: str(needed)})) == []
    (message,) = refusals(topic(**{key: str(needed - 1)}))
    assert f"at least {needed}" in message
    assert f"lower the chunk size to {needed - 1 - RECORD_OVERHEAD_BYTES}" in message


def test_a_single_copy_is_a_warning():
    (message,) = warnings(topic(replication_factor=1, min_insync_replicas="1"))

    assert "replication factor 1" in message


def test_acknowledgement_by_a_single_copy_is_a_warning():
    (message,) = warnings(topic(min_insync_replicas="1"))

    assert "min.insync.replicas=1" in message


def test_a_configuration_that_cannot_be_read_is_a_warning():
    info = TopicInfo("raw", "id", 6, 3, {}, "no DescribeConfigs")

    assert refusals(info) == []
    assert "DescribeConfigs" in warnings(info)[0]


def test_requiring_raises_all_refusals_and_returns_the_warnings():
    assert len(require_topic_can_carry(topic(min_insync_replicas="1"), CHUNK)) == 1
    with pytest.raises(TopicRefused, match=r"compacted.*max\.message\.bytes"):
        require_topic_can_carry(topic(cleanup_policy="compact", max_message_bytes="5"), CHUNK)


class TestRetention:
    def test_is_in_seconds_and_bytes_of_a_partition(self):
        info = topic(retention_ms="60000", retention_bytes="1000")

        assert info.retention_seconds == 60
        assert info.retention_bytes == 1000

    @pytest.mark.parametrize("config", [{"retention_ms": "-1"}, {"cleanup_policy": "compact"}])
    def test_never_is_none(self, config):
        assert topic(**config).retention_seconds is None

    def test_unknown_is_none(self):
        assert TopicInfo("raw", "id", 6, 3).retention_seconds is None


def test_a_batch_is_never_larger_than_the_topic_takes():
    assert topic().max_batch_bytes == 1_000_000
    assert topic(max_message_bytes="300000").max_batch_bytes == 300_000

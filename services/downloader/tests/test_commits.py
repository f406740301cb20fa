"""What a commit tells of us: only the group's own answer counts, and syncs only of what is still ours."""

import math
import time

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from services.downloader.tests.records import File, content, new_id
from services.downloader.tests.simulation import TOPIC_ID, Destination

from chunkproto.checkpoint import Checkpoint
from servicekit import faults


class Group:
    """Takes commits; the test gives the answers."""

    def __init__(self) -> None:
        self.asked: list[list[TopicPartition]] = []
        self.has_no_coordinator = False

    def commit(self, *, offsets, asynchronous):
        assert asynchronous
        if self.has_no_coordinator:
            raise KafkaException(KafkaError(KafkaError._WAIT_COORD))
        self.asked.append(offsets)


@pytest.fixture
def destination(tmp_path):
    """A destination in the middle of a file, with a checkpoint."""
    started = Destination(tmp_path, File("a", content(64), new_id()).records())
    started.step()
    started.step(commit=True)
    yield started
    started.close()


@pytest.fixture
def ask(destination):
    """Ask a group whether it knows us, as often as wanted."""
    group = Group()

    def asking() -> bool | None:
        return destination.commits.confirm(group, [destination.partition])

    asking.group = group
    return asking


def test_a_group_that_takes_our_commit_knows_us(destination, ask):
    assert ask() is None
    destination.commits.on_commit(None, ask.group.asked[0])
    assert ask() is True
    assert len(ask.group.asked) == 1


@pytest.mark.parametrize("name", ["UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "FENCED_MEMBER_EPOCH"])
def test_a_group_that_refuses_our_commit_has_dropped_us(destination, ask, name):
    assert ask() is None
    destination.commits.on_commit(KafkaError(getattr(KafkaError, name)), [])
    assert ask() is False


@pytest.mark.parametrize("name", ["_TRANSPORT", "_TIMED_OUT", "_WAIT_COORD", "REBALANCE_IN_PROGRESS"])
def test_what_is_no_answer_is_asked_again(destination, ask, name):
    for times in (1, 2):
        assert ask() is None
        assert len(ask.group.asked) == times
        destination.commits.on_commit(KafkaError(getattr(KafkaError, name)), [])
    assert ask() is None
    destination.commits.on_commit(None, ask.group.asked[-1])
    assert ask() is True


def test_without_a_coordinator_it_is_asked_until_there_is_one(destination, ask):
    ask.group.has_no_coordinator = True
    assert [ask(), ask()] == [None, None]
    ask.group.has_no_coordinator = False
    assert ask() is None
    destination.commits.on_commit(None, ask.group.asked[-1])
    assert ask() is True


def test_an_answer_to_another_commit_is_none(destination, ask):
    assert ask() is None
    destination.commits.on_commit(None, [TopicPartition("topic", 0, 9_999)])
    assert ask() is None
    assert len(ask.group.asked) == 1


def test_while_records_are_read_again_what_is_committed_is_committed_unchanged(destination, ask):
    partition = destination.partition
    committed = Checkpoint.decode(*destination.broker.committed(), TOPIC_ID)
    assert committed.entries
    destination.commits.on_commit(None, [])
    partition.position = 0  # as when an upload is replayed from before the checkpoint
    assert ask() is None
    ((asked,),) = ask.group.asked
    assert Checkpoint.decode(asked.offset, asked.metadata, TOPIC_ID) == committed


def test_an_assignment_knows_the_whole_checkpoint_that_it_began_with(destination):
    committed = Checkpoint.decode(*destination.broker.committed(), TOPIC_ID)
    destination.holdings.abandon([0])
    destination.open()
    assert destination.partition.committed == committed
    assert committed.entries


def test_an_unfinished_upload_is_as_old_as_its_partial_whoever_gets_the_partition(destination, monkeypatch):
    destination.holdings.abandon([0])
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    destination.open()
    (upload,) = destination.partition.assembly
    assert time.monotonic() - upload.last_seen > 3500


def test_without_partitions_there_is_nothing_to_ask_for(destination):
    assert destination.commits.confirm(Group(), []) is True


@pytest.mark.parametrize("is_over", [False, True])
def test_a_sync_that_failed_removes_the_partial_only_while_it_is_ours(destination, tmp_path, is_over):
    destination.step()
    partition = destination.partition
    (partial,) = (tmp_path / "root/.penstock/downloader/partial").iterdir()
    faults.arm({"PENSTOCK_FAIL_AT": "partial.sync=EIO:1"})
    group = Group()
    destination.commits.turn(group, [partition], math.inf)
    destination.commits.close(wait=True)
    faults.arm({})
    partition.tenure.is_over = is_over
    destination.commits.turn(group, [partition], math.inf)
    assert partial.exists() == is_over
    assert bool(partition.restarting) == (not is_over)
    assert group.asked == []

"""Setting an uploader up: what is wrong is said before anything is made, then the parts are put together."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from chunkproto.native import RECORD_OVERHEAD_BYTES
from penstock_uploader.answers import AnswersReader
from penstock_uploader.discovery import Discovery
from penstock_uploader.forgetting import Forgetting
from penstock_uploader.ledger import Ledger
from penstock_uploader.naming import prefix_values, render_prefix
from penstock_uploader.observer import Observer
from penstock_uploader.outcomes import Once, Outcomes
from penstock_uploader.planning import Planner, TopicLimits
from penstock_uploader.questions import Questions
from penstock_uploader.recall import Recall
from penstock_uploader.removal import Removals
from penstock_uploader.reporting import Reporting
from penstock_uploader.resends import Resends
from penstock_uploader.resuming import Resuming
from penstock_uploader.schedule import RateLimit, Schedule
from penstock_uploader.sending import Sending
from penstock_uploader.settings import UploaderSettings
from penstock_uploader.settle import Settle
from penstock_uploader.statedir import open_state_dir, persistent_source_id
from penstock_uploader.topic import TopicFollower, adopt_topic
from penstock_uploader.topicwatch import TopicWatch
from penstock_uploader.transfer import Transfer
from penstock_uploader.transfers import Transfers
from penstock_uploader.troubles import Troubles
from penstock_uploader.watch import Watch
from servicekit.circles import refuse_circle
from servicekit.events import Telemetry, receipts_topic
from servicekit.exceptions import NotAuthorized, PenstockError, UnknownTopic
from servicekit.globs import PathFilter
from servicekit.http import Health, HttpServer, health_routes
from servicekit.kafka import ClientHealth, consumer_config, producer_config, wait_for_broker
from servicekit.lifecycle import StopSignal
from servicekit.topics import TopicInfo, Topics, receipts_config, require_topic_can_carry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What an uploader is made of. The service's thread alone uses them."""

    source_id: str
    state_dir: str
    ledger: Ledger
    reader: AnswersReader | None
    topic: TopicFollower
    topic_watch: TopicWatch
    watch: Watch
    discovery: Discovery
    schedule: Schedule
    rate: RateLimit
    transfers: Transfers
    planner: Planner
    troubles: Troubles
    outcomes: Outcomes
    removals: Removals
    resends: Resends
    resuming: Resuming
    forgetting: Forgetting
    reporting: Reporting
    questions: Questions


def set_up(
    settings: UploaderSettings,
    stack: ExitStack,
    stop: StopSignal,
    *,
    health: Health,
    observer: Observer | None,
    once: Once | None,
    wake: Callable[[], None],
    topic_described: Callable[[TopicInfo | PenstockError], None],
) -> Parts | None:
    """Make all parts; `stack` lets go of them.

    None if `stop` came before a broker did, or before another uploader of the directory had ended.

    `once`: files are sent once, and what becomes of them is noted there. `wake` and `topic_described` are
    called from other threads. Raises PenstockErrors for what makes starting impossible.
    """
    prefix = render_prefix(settings.prefix, prefix_values())
    paths = PathFilter(settings.include, settings.exclude)
    producer_config(settings)
    consumer_config(settings, "receipts", "classic")
    topics = Topics(settings)

    # First of all: who waits for another one's end is asked how it is, too.
    if settings.metrics_port is not None:
        routes = health_routes(health)
        server = HttpServer(settings.metrics_host, settings.metrics_port, routes, name="metrics")
        stack.callback(server.close)
        log.info("metrics at %s/metrics", server.url)
    state_dir = open_state_dir(settings, stack, stop, health, once=once is not None)
    if state_dir is None:
        return None
    source_id = persistent_source_id(settings, state_dir)
    ledger = Ledger(
        os.path.join(state_dir, "ledger.db"),
        durable=settings.after != "keep",
        now_ms=time.time_ns() // 1_000_000,
    )
    stack.callback(ledger.close)
    if not wait_for_broker(settings, stop):
        return None
    topic = topics.describe(settings.topic)
    for warning in require_topic_can_carry(topic, int(settings.chunk_size), overhead=RECORD_OVERHEAD_BYTES):
        log.warning("%s", warning)
    refuse_circle(settings.root, "uploader", topic)
    adopt_topic(settings, ledger, topic, once=once is not None)
    recall = Recall(ledger)
    reader = None
    if once is None or settings.after_receipt_from:
        reader = _open_answers(settings, stack, stop, topics, topic, ledger, recall, source_id, wake)
    telemetry = Telemetry(settings, topic=settings.events_topic or None)
    stack.callback(telemetry.close)
    limits = TopicLimits.of(topic)

    troubles = Troubles(settings.root)
    active: dict[str, Transfer] = {}
    reporting = Reporting(
        settings,
        source_id=source_id,
        prefix=prefix,
        observer=observer,
        telemetry=telemetry,
        once=once is not None,
    )
    rate = RateLimit(
        None if settings.rate_limit is None else int(settings.rate_limit),
        int(settings.chunk_size),
        time.monotonic(),
    )
    watch = Watch(
        settings.root,
        paths,
        polling=settings.polling,
        scan_interval=settings.scan_interval_seconds,
        polling_interval=settings.polling_interval_seconds,
        wake=wake,
    )
    schedule = Schedule(int(settings.chunk_size))
    discovery = Discovery(
        settings.root,
        settle=Settle(settings.settle_seconds),
        schedule=schedule,
        ledger=ledger,
        active=active,
        existing=settings.existing,
        trust_times=not watch.polling,
        is_hopeless=troubles.keeps,
        ready=lambda path, fingerprint: reporting.discovered(
            path, fingerprint.size, is_news=not planner.may_be_known(path, fingerprint)
        ),
        gone=lambda path: outcomes.gone(path, transfers.resends.pop(path, None)),
    )
    removals = Removals(
        settings,
        ledger.database,
        wake=wake,
        changed=lambda path: discovery.retry(path, 0.0),
    )
    stack.callback(removals.stop)
    outcomes = Outcomes(
        ledger=ledger,
        discovery=discovery,
        troubles=troubles,
        removals=removals,
        reporting=reporting,
        once=once,
    )
    planner = Planner(
        settings,
        prefix=prefix,
        source_id=source_id,
        ledger=ledger,
        recall=recall,
        limits=limits,
        asked_again=lambda: resends.want(),
    )
    transfers = Transfers(
        settings.root,
        planner=planner,
        ledger=ledger,
        schedule=schedule,
        active=active,
        listener=outcomes,
        connect=lambda: Sending(
            settings, ClientHealth("producer", settings.bootstrap_servers), topic.max_batch_bytes
        ),
    )
    stack.callback(transfers.close)
    forgetting = Forgetting(
        ledger.database,
        settings.root,
        settings.remember_seconds,
        settings.after_receipt_from,
        lambda: planner.limits.retention_seconds,
    )
    resends = Resends(ledger, transfers, discovery)
    resuming = Resuming(
        settings.root,
        ledger=ledger,
        planner=planner,
        schedule=schedule,
        transfers=transfers,
        listener=outcomes,
    )
    questions = Questions(
        settings,
        source_id=source_id,
        ledger=ledger,
        watch=watch,
        discovery=discovery,
        schedule=schedule,
        transfers=transfers,
        troubles=troubles,
        resends=resends,
    )
    follower = TopicFollower(
        settings,
        health=health,
        ledger=ledger,
        planner=planner,
        transfers=transfers,
        troubles=troubles,
        discovery=discovery,
        resends=resends,
        removals=removals,
        once=once is not None,
    )
    topic_watch = TopicWatch(
        topics,
        settings.topic,
        settings.topic_check_seconds,
        topic_described,
        None if reader is None else reader.described,
    )
    return Parts(
        source_id=source_id,
        state_dir=state_dir,
        ledger=ledger,
        reader=reader,
        topic=follower,
        topic_watch=topic_watch,
        watch=watch,
        discovery=discovery,
        schedule=schedule,
        rate=rate,
        transfers=transfers,
        planner=planner,
        troubles=troubles,
        outcomes=outcomes,
        removals=removals,
        resends=resends,
        resuming=resuming,
        forgetting=forgetting,
        reporting=reporting,
        questions=questions,
    )


def _open_answers(
    settings: UploaderSettings,
    stack: ExitStack,
    stop: StopSignal,
    topics: Topics,
    stream: TopicInfo,
    ledger: Ledger,
    recall: Recall,
    source_id: str,
    wake: Callable[[], None],
) -> AnswersReader | None:
    """Begin to read receipts; a new ledger first reads all there are."""
    name = receipts_topic(stream.name)
    try:
        topic = topics.ensure_topic(name, config=receipts_config(stream))
    except (NotAuthorized, UnknownTopic) as error:
        if settings.after_when == "delivered" and settings.after != "keep":
            raise
        log.warning("no receipts: %s", error)
        return None
    positions = ledger.answers.positions(topic.topic_id)
    reader = AnswersReader(settings, topic, source_id, positions, wake)
    stack.callback(reader.stop)
    if ledger.is_new:
        recall.read(reader, topics, source_id, stop)
    reader.start()
    return reader

"""`penstock create-topic`: a topic as a stream needs it, with the topics that go with it."""

from __future__ import annotations

import click
from pydantic import Field

from chunkproto.plan import DEFAULT_CHUNK_SIZE
from penstock.help import Command
from penstock.options import EVERYWHERE, load, settings_options
from servicekit.events import EVENTS_TOPIC, receipts_topic
from servicekit.exceptions import ConfigurationError
from servicekit.settings import Seconds, ServiceSettings
from servicekit.streams import StreamTopic
from servicekit.topics import (
    STREAM_RETENTION_SECONDS,
    Topics,
    receipts_config,
    require_topic_can_carry,
    stream_config,
)


class _TopicSettings(ServiceSettings):
    topic: StreamTopic = Field(min_length=1, max_length=249, description="Name of the topic.")
    partitions: int = Field(
        4,
        ge=1,
        description="As many downloaders of one destination can share its work. Can be raised later.",
    )
    replication_factor: int | None = Field(
        None, ge=1, description="Brokers that hold each record; 3 is usual. By default what the cluster says."
    )
    retention_seconds: Seconds = Field(
        float(STREAM_RETENTION_SECONDS),
        description="How long a destination may be away before it misses files.",
    )


def _run(name: str | None, **given: object) -> None:
    settings = load(_TopicSettings, given | {"topic": name or given.get("topic")})
    topics = Topics(settings)
    config = stream_config(settings.retention_seconds)
    copies = settings.replication_factor or -1
    stream = topics.ensure_topic(
        settings.topic, partitions=settings.partitions, replication_factor=copies, config=config
    )
    different = [
        f"{name} {have}, not {want}"
        for name, have, want in (
            ("partitions", stream.partitions, settings.partitions),
            ("retention.ms", stream.config.get("retention.ms"), config["retention.ms"]),
        )
        if str(have) != str(want)
    ]
    if different:
        raise ConfigurationError(
            f"topic {settings.topic!r} is there already, and has {', '.join(different)}; it was left as it is"
        )
    for warning in require_topic_can_carry(stream, DEFAULT_CHUNK_SIZE):
        click.echo(f"note: {warning}", err=True)
    receipts = receipts_topic(settings.topic)
    topics.ensure_topic(receipts, replication_factor=copies, config=receipts_config(stream))
    topics.ensure_topic(EVENTS_TOPIC, replication_factor=copies)
    click.echo(f"topic {settings.topic} is there, with {stream.partitions} partitions")
    click.echo(f"topics {receipts} (receipts) and {EVENTS_TOPIC} (telemetry) are there")


command = Command(
    "create-topic",
    callback=_run,
    help=(
        "Make the topic of a stream, with settings that are safe for files, and the two topics that go with "
        "it: TOPIC.receipts, where destinations say what has arrived, and penstock.events. What is there "
        "already is left as it is."
    ),
    epilog=EVERYWHERE,
    examples=(
        ("penstock create-topic scope", "Four partitions, kept for a week"),
        ("penstock create-topic scope --partitions 12 --replication-factor 3", "For a real cluster"),
    ),
    params=[
        click.Argument(["name"], required=False, metavar="[TOPIC]"),
        *settings_options(
            _TopicSettings,
            groups={"The topic": ("partitions", "replication_factor", "retention_seconds")},
            without=("metrics_port", "metrics_host"),
        ),
    ],
)

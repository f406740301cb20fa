"""All streams: are files arriving, and if not, where to look."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders

from dashboards import promql
from dashboards.page import OVERVIEW, STREAM_URL, choice
from dashboards.page import page as begin
from dashboards.panels import (
    BAD,
    BYTES,
    BYTES_PER_SECOND,
    COUNT,
    FAIR,
    GOOD,
    PER_SECOND,
    SECONDS,
    Column,
    Query,
    lines,
    number,
    rows,
)

_OURS: Final = 'stream=~"$topic"'
_TOPIC: Final = 'topic=~"$topic"'
_LOST: Final = f'state=~"rejected|failed", {_OURS}'
_BOTH: Final = ("stream", "destination")

_LAG: Final = promql.known("penstock_stream_lag_files", *_BOTH, where=_OURS)
_NONE_YET: Final = f"{promql.known('penstock_stream_files', 'stream', where=_OURS)} * 0"
_LOST_BY_STATE: Final = promql.known("penstock_stream_files", "stream", "state", where=_LOST)
_WILL_NOT_ARRIVE: Final = f"sum by (stream) ({_LOST_BY_STATE}) or {_NONE_YET}"
# 0: all has arrived, 1: files wait, 2 and more: some will not arrive. One row without a destination, too.
_HEALTH: Final = (
    f"(({_LAG} > bool 0) or on (stream) ({_NONE_YET})) "
    f"+ on (stream) group_left () (2 * (({_WILL_NOT_ARRIVE}) > bool 0))"
)
_BYTES_ARRIVE: Final = promql.known_rate("penstock_delivered_bytes_total", *_BOTH, where=_OURS)
_HEARD: Final = promql.known("penstock_program_last_heartbeat_timestamp_seconds", "service", "program_id")
_HEALTH_TEXTS: Final = {
    0: ("OK", GOOD),
    1: ("Files wait", FAIR),
    2: ("Failing", BAD),
    3: ("Failing, files wait", BAD),
}
_LIFE_TEXTS: Final = {0: ("Silent", BAD), 1: ("Alive", GOOD)}


def page() -> builders.Dashboard:
    """Give the dashboard."""
    found = begin(
        OVERVIEW,
        "All streams of files: what arrives, what waits, what will not arrive, and who has fallen silent. "
        "What the registry knows, and what uploaders and downloaders say of themselves.",
        choice(
            "topic",
            "Topic",
            "Streams by their topic, as the registry knows them.",
            "penstock_stream_files",
            "stream",
            several=True,
        ),
    )
    found = _now(found)
    found = _streams(found)
    found = _flow(found)
    found = _failures(found)
    return _programs(found)


def _now(found: builders.Dashboard) -> builders.Dashboard:
    return (
        found.with_panel(
            number(
                "Streams",
                "Topics that the registry has seen files of. Choose some of them above.",
                f"count({promql.known('penstock_stream_files', 'stream', where=_OURS)}) or vector(0)",
                base="text",
            )
        )
        .with_panel(
            number(
                "Files that will not arrive",
                "Rejected by a destination, or not sendable by their source, and nothing tries again. The "
                "registry's page names each one, the reason, and what to do.",
                f"sum({_LOST_BY_STATE}) or vector(0)",
                bad_from=1,
            )
        )
        .with_panel(
            number(
                "Files waiting",
                "In Kafka, and not answered yet by some destination; a file that waits for two counts "
                "twice. Fine while it goes down: look at the table for the destination that does not follow.",
                f"sum({_LAG}) or vector(0)",
                fair_from=1,
            )
        )
        .with_panel(
            number(
                "Arriving now",
                "Bytes of files that become whole at their destinations, per second, all together.",
                f"sum({_BYTES_ARRIVE}) or vector(0)",
                unit=BYTES_PER_SECOND,
                base="text",
            )
        )
        .with_panel(
            number(
                "Silent programs",
                "Uploaders, downloaders and others that stopped talking without saying that they stop. "
                "Below, Programs names them: see whether they run, and start them again.",
                "count(max by (program_id, service) (penstock_program_up) == 0) or vector(0)",
                bad_from=1,
            )
        )
        .with_panel(
            number(
                "Registry behind by",
                "How old the newest thing is that the registry has read. While this is minutes, what is "
                "shown here is of then: look at the registry's log and its database.",
                "max(penstock_registry_behind_seconds)",
                unit=SECONDS,
                fair_from=60,
                bad_from=300,
            )
        )
    )


def _streams(found: builders.Dashboard) -> builders.Dashboard:
    in_depth = (
        f"{STREAM_URL}&var-namespace=${{__data.fields.Namespace}}"
        "&var-stream=${__data.fields.DirectoryStream}"
    )
    delivered, size = (f"penstock_delivered_{what}_total" for what in ("files", "bytes"))
    queries = (
        Query(_HEALTH),
        Query(promql.known_rate(delivered, *_BOTH, where=_OURS)),
        Query(promql.known_rate(size, *_BOTH, where=_OURS)),
        Query(_LAG),
        Query(promql.known("penstock_stream_lag_bytes", *_BOTH, where=_OURS)),
        Query(promql.in_registrys_words("penstock_operator_stream_lag_records", _TOPIC)),
        Query(promql.names_of_streams(_TOPIC)),
    )
    columns = (
        Column("directory_stream", "DirectoryStream", link=in_depth),
        Column("namespace", "Namespace"),
        Column("stream", "Topic"),
        Column("destination", "Destination"),
        Column("Value #A", "Health", texts=_HEALTH_TEXTS),
        Column("Value #B", "Files/s", PER_SECOND, decimals=2),
        Column("Value #C", "Bytes/s", BYTES_PER_SECOND),
        Column("Value #D", "Files waiting", COUNT, ((1, FAIR),), decimals=0),
        Column("Value #E", "Bytes waiting", BYTES),
        Column("Value #F", "Records waiting", COUNT, decimals=0),
    )
    return found.with_panel(
        rows(
            "Streams and their destinations",
            "Each stream and each of its destinations. Failing: a destination rejected files, or the source "
            "cannot send them; the registry's page says which and why. Files wait: fine while they get "
            "fewer. Records waiting is the operator's count in Kafka, parts of unfinished files included. A "
            "DirectoryStream's name leads to it in depth; streams that no operator looks after have none.",
            queries,
            columns,
            hidden=("Value #G",),
            sort_by="Health",
        )
    )


def _flow(found: builders.Dashboard) -> builders.Dashboard:
    up_files, up_bytes = (f"penstock_stream_uploaded_{what}_total" for what in ("files", "bytes"))
    down_files, down_bytes = (f"penstock_delivered_{what}_total" for what in ("files", "bytes"))
    visible = "penstock_downloader_close_to_visible_seconds"
    return (
        found.with_row(builders.Row("Flow"))
        .with_panel(
            lines(
                "Files per second",
                "Files that Kafka has acknowledged, and files that became whole at each destination. When "
                "the second falls behind the first for long, look at that destination.",
                Query(promql.known_rate(up_files, "stream", where=_OURS), "{{stream}} → Kafka"),
                Query(promql.known_rate(down_files, *_BOTH, where=_OURS), "{{stream}} → {{destination}}"),
                unit=PER_SECOND,
            )
        )
        .with_panel(
            lines(
                "Bytes per second",
                "Bytes of files that Kafka has acknowledged, and bytes of files that became whole at each "
                "destination.",
                Query(promql.known_rate(up_bytes, "stream", where=_OURS), "{{stream}} → Kafka"),
                Query(promql.known_rate(down_bytes, *_BOTH, where=_OURS), "{{stream}} → {{destination}}"),
                unit=BYTES_PER_SECOND,
            )
        )
        .with_panel(
            lines(
                "Files waiting",
                "Files that Kafka has and a destination has not answered. A line that only rises is a "
                "destination that is away, paused, or too slow; Kafka keeps files for the topic's retention "
                "only.",
                Query(_LAG, "{{stream}} → {{destination}}"),
                width=8,
            )
        )
        .with_panel(
            lines(
                "Bytes waiting",
                "Bytes of files that Kafka has and a destination has not answered, which it must fetch "
                "before the topic's retention is over.",
                Query(
                    promql.known("penstock_stream_lag_bytes", *_BOTH, where=_OURS),
                    "{{stream}} → {{destination}}",
                ),
                unit=BYTES,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Records waiting",
                "Records between what a destination has read for good and the end of its topic, as the "
                "operator sees them in Kafka. It wakes and scales downloaders by them.",
                Query(
                    promql.in_registrys_words("penstock_operator_stream_lag_records", _TOPIC),
                    "{{stream}} → {{destination}}",
                ),
                width=8,
            )
        )
        .with_panel(
            lines(
                "Delivery latency, close to visible",
                "From when the source saw a file at rest until it was visible at the destination: half of "
                "the files took less than p50, all but one in a hundred less than p99. Needs clocks that "
                "agree. High with few files waiting: large files, or a slow volume. High with many: too few "
                "downloaders or partitions.",
                *(
                    Query(
                        promql.quantile_by_topic(share, visible, "penstock_downloader_info", _TOPIC),
                        f"p{share * 100:g} {{{{topic}}}} → {{{{destination}}}}",
                    )
                    for share in (0.5, 0.99)
                ),
                unit=SECONDS,
            )
        )
        .with_panel(
            lines(
                "Upload latency, close to acknowledged",
                "From when the source saw a file at rest until Kafka had all of it. The part of the "
                "delivery latency that is the uploader's: when it is high, look at its network, its rate "
                "limit, and the brokers.",
                *(
                    Query(
                        promql.quantile_by_topic(
                            share,
                            "penstock_uploader_close_to_acknowledged_seconds",
                            "penstock_uploader_info",
                            _TOPIC,
                            by=("topic",),
                        ),
                        f"p{share * 100:g} {{{{topic}}}}",
                    )
                    for share in (0.5, 0.99)
                ),
                unit=SECONDS,
            )
        )
    )


def _failures(found: builders.Dashboard) -> builders.Dashboard:
    return (
        found.with_row(builders.Row("Failures"))
        .with_panel(
            lines(
                "Files that will not arrive",
                "By stream: rejected by a destination, or failed at their source, and not on their way "
                "again. A line goes down when the file is sent again and arrives, or changes. `penstock "
                "status` names them.",
                Query(f"{_LOST_BY_STATE} or {_NONE_YET}", "{{stream}} {{state}}"),
                width=8,
                stepped=True,
            )
        )
        .with_panel(
            lines(
                "Refused by destinations, by reason",
                "Records and uploads per second that downloaders refused. `incomplete`, `digest` and "
                "`expired` are sent again by themselves; all others need someone: docs/wire.md says what "
                "each means.",
                Query(
                    promql.by_topic(
                        "penstock_downloader_refused_total", "penstock_downloader_info", "reason"
                    ),
                    "{{topic}} {{reason}}",
                ),
                Query(promql.total_rate("penstock_downloader_refused_total"), "all"),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Errors of uploaders, by reason",
                "What went wrong at the sources, per second: files that cannot be read or sent, directories "
                "that cannot be read, producers that failed. The uploader's log has the names.",
                Query(
                    promql.by_topic("penstock_uploader_errors_total", "penstock_uploader_info", "reason"),
                    "{{topic}} {{reason}}",
                ),
                unit=PER_SECOND,
                width=8,
            )
        )
    )


def _programs(found: builders.Dashboard) -> builders.Dashboard:
    program = ("service", "program_id")
    return (
        found.with_row(builders.Row("Programs and Kafka"))
        .with_panel(
            rows(
                "Programs",
                "Who sends heartbeats, wherever it runs. Silent: nothing heard for three of its intervals, "
                "and it did not say that it stops; see whether its machine and its network are up, and "
                "start it again.",
                (
                    Query(promql.known("penstock_program_up", *program)),
                    Query(f"time() - {_HEARD} and on (service, program_id) penstock_program_up"),
                ),
                (
                    Column("service", "Service"),
                    Column("program_id", "Program"),
                    Column("Value #A", "Life", texts=_LIFE_TEXTS),
                    Column("Value #B", "Last heard of", SECONDS, decimals=0),
                ),
                sort_by="Life",
                descending=False,
                width=12,
                height=8,
            )
        )
        .with_panel(
            lines(
                "Brokers that clients are connected to",
                "The fewest of each job's Kafka clients. 0: that client waits for a broker, and nothing "
                "goes through it; see whether the brokers run, and whether their address, port and "
                "credentials are right. Nothing is lost meanwhile.",
                Query(
                    "min by (job, namespace, stream, client) (penstock_kafka_client_brokers_up)",
                    "{{job}} {{namespace}}/{{stream}} {{client}}",
                ),
                stepped=True,
            )
        )
        .with_panel(
            lines(
                "Waiting in producers",
                "Bytes that producers hold and Kafka has not acknowledged. Steadily high is normal for a "
                "busy uploader, whose speed the brokers set; high without any flow means that Kafka does "
                "not answer.",
                Query(
                    "sum by (job, namespace, stream) (penstock_kafka_client_queue_bytes)",
                    "{{job}} {{namespace}}/{{stream}}",
                ),
                unit=BYTES,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Telemetry dropped",
                "Events per second that were dropped because their topic could not be written, or not fast "
                "enough. Files are not affected, but the registry hears less of what is on its way.",
                Query(promql.total_rate("penstock_events_dropped_total"), "events"),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Records that the registry kept aside or missed",
                "Per second: records on its topics that are no events (the page shows them under Kept "
                "aside), and such that Kafka deleted before they were read. Both should be 0.",
                Query(promql.total_rate("penstock_registry_records_kept_aside_total"), "kept aside"),
                Query(promql.total_rate("penstock_registry_records_missed_total"), "missed"),
                unit=PER_SECOND,
                width=8,
            )
        )
    )

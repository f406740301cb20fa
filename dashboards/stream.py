"""One stream in depth: its source, its destination, what is between, and who says what of it."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders

from dashboards import promql
from dashboards.page import STREAM, choice
from dashboards.page import page as begin
from dashboards.panels import (
    BAD,
    BYTES,
    BYTES_PER_SECOND,
    DIM,
    GOOD,
    PER_SECOND,
    SECONDS,
    Query,
    heat,
    lines,
    number,
    quantiles,
)

_OURS: Final = 'namespace="$namespace", stream="$stream"'
_KNOWN: Final = 'stream="$topic"'
_ANSWERED: Final = 'stream="$topic", destination=~"$destination"'
_INFOS: Final = '{__name__=~"penstock_(operator_stream|uploader|downloader)_info"'
_VISIBLE: Final = "penstock_downloader_close_to_visible_seconds"
_ACKNOWLEDGED: Final = "penstock_uploader_close_to_acknowledged_seconds"


def page() -> builders.Dashboard:
    """Give the dashboard."""
    found = begin(
        STREAM,
        "One stream in depth. The first row sums up; then its uploaders, its downloaders, latency, scaling, "
        "and what the registry knows of its topic.",
        choice("namespace", "Namespace", "Namespace of the stream's pods.", f"{_INFOS}}}"),
        choice("stream", "Stream", "The DirectoryStream.", f'{_INFOS}, namespace="$namespace"}}'),
        choice("topic", "Topic", "The topic that the stream goes through.", f"{_INFOS}, {_OURS}}}"),
        choice(
            "destination",
            "Destination",
            "Consumer groups that receive the stream's files here.",
            f"{_INFOS}, {_OURS}}}",
            several=True,
        ),
    )
    for add in (_now, _source, _destination, _latency, _scaling, _registry, _kafka):
        found = add(found)
    return found


def _now(found: builders.Dashboard) -> builders.Dashboard:
    lost = promql.known("penstock_stream_files", "state", where=f'state=~"rejected|failed", {_KNOWN}')
    waiting = promql.known("penstock_stream_lag_files", "destination", where=_ANSWERED)
    ready = f"max(penstock_operator_stream_ready{{{_OURS}}})"
    replicas = f"max(penstock_operator_stream_ready_replicas{{{_OURS}}})"
    return (
        found.with_panel(
            number(
                "Ready",
                "Whether the operator finds all well. If not, `kubectl describe dstream` says what is wrong "
                "and what to do. Nothing is shown for a suspended stream, or one that no operator looks "
                "after.",
                ready,
                says={0: ("Not Ready", BAD), 1: ("Ready", GOOD)},
            )
        )
        .with_panel(
            number(
                "Downloaders ready",
                "Pods that receive files now. 0 is fine for a stream that may sleep (minReplicas: 0) while "
                "no files wait. The graph below compares with how many there are to be.",
                replicas,
                base=DIM,
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Files waiting",
                "Files in Kafka that a destination has not answered. Fine while it goes down.",
                f"sum({waiting}) or vector(0)",
                fair_from=1,
            )
        )
        .with_panel(
            number(
                "Files that will not arrive",
                "Rejected, or not sendable, and nothing tries again. `penstock status` names them, and what "
                "to do.",
                f"sum({lost}) or vector(0)",
                bad_from=1,
            )
        )
        .with_panel(
            number(
                "Arriving now",
                "Bytes of files that become visible at the destination, per second.",
                promql.total_rate("penstock_downloader_delivered_bytes_total", _OURS),
                unit=BYTES_PER_SECOND,
                base=DIM,
            )
        )
        .with_panel(
            number(
                "99 of 100 files within",
                "Time from a file being at rest at its source until it was visible at the destination. "
                "Needs clocks that agree; nothing is shown while no files arrive.",
                promql.quantile(0.99, _VISIBLE, where=_OURS),
                unit=SECONDS,
                base=DIM,
            )
        )
    )


def _source(found: builders.Dashboard) -> builders.Dashboard:
    uploader = "penstock_uploader_"
    return (
        found.with_row(builders.Row("At the source: uploaders"))
        .with_panel(
            lines(
                "Files found and sent",
                "Files per second that uploaders found new or changed, that Kafka has whole, and that a "
                "destination asked for once more. Found for long without being sent: see Files on their way.",
                Query(promql.rate(f"{uploader}files_discovered_total", "pod", where=_OURS), "found {{pod}}"),
                Query(promql.rate(f"{uploader}files_acknowledged_total", "pod", where=_OURS), "sent {{pod}}"),
                Query(promql.rate(f"{uploader}files_resent_total", "pod", where=_OURS), "again {{pod}}"),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Bytes into Kafka",
                "Bytes of files per second that Kafka has acknowledged. 0 while files are queued: the "
                "brokers do not answer, or do not take the records; the uploader's log says which.",
                Query(promql.rate(f"{uploader}produced_bytes_total", "pod", where=_OURS), "{{pod}}"),
                unit=BYTES_PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Files on their way",
                "Settling: still written to, or not at rest for long enough. Queued: ready, waiting for "
                "their turn. In flight: being sent. Failed: cannot be sent as things are; the registry's "
                "page and the uploader's log say why.",
                *(
                    Query(f"sum({uploader}{state}_files{{{_OURS}}})", state.replace("_", " "))
                    for state in ("settling", "queued", "in_flight", "failed")
                ),
                width=8,
            )
        )
        .with_panel(
            lines(
                "Bytes in flight",
                "Sent and not yet acknowledged, by pod. It never grows beyond `max_inflight_bytes`; "
                "steadily there means that the brokers set the speed.",
                Query(f"sum by (pod) ({uploader}in_flight_bytes{{{_OURS}}})", "{{pod}}"),
                unit=BYTES,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Answers of destinations",
                "Receipts, rejections and skips per second that came back to the uploaders.",
                Query(promql.rate(f"{uploader}receipts_total", "outcome", where=_OURS), "{{outcome}}"),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Errors of uploaders, by reason",
                "Per second. `unreadable` and `unreadable-directory`: permissions of the watched directory; "
                "`producer`: it was replaced after a fatal error. The log names files and causes.",
                Query(promql.rate(f"{uploader}errors_total", "reason", where=_OURS), "{{reason}}"),
                Query(promql.total_rate(f"{uploader}producers_replaced_total", _OURS), "producers replaced"),
                unit=PER_SECOND,
                width=8,
            )
        )
    )


def _destination(found: builders.Dashboard) -> builders.Dashboard:
    downloader = "penstock_downloader_"
    return (
        found.with_row(builders.Row("At the destination: downloaders"))
        .with_panel(
            lines(
                "Files delivered",
                "Files per second that became visible, by pod. A pod without any may have partitions "
                "without files, or none at all: see Partitions of each downloader.",
                Query(promql.rate(f"{downloader}files_delivered_total", "pod", where=_OURS), "{{pod}}"),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Bytes delivered",
                "Bytes of files per second that became visible, by pod.",
                Query(promql.rate(f"{downloader}delivered_bytes_total", "pod", where=_OURS), "{{pod}}"),
                unit=BYTES_PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Bytes read and written",
                "What comes from Kafka and what goes to the volume, per second. Read without written: "
                "records that are passed over, such as those of uploads that are there already after a "
                "restart.",
                Query(promql.rate(f"{downloader}read_bytes_total", where=_OURS), "read"),
                Query(promql.rate(f"{downloader}processed_bytes_total", where=_OURS), "written"),
                unit=BYTES_PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Records waiting, by partition",
                "Between what was read and the end of each partition. One that rises while others do not: "
                "its downloader is stuck or slow, or one huge file is in it.",
                Query(f"max by (partition) ({downloader}lag_records{{{_OURS}}})", "partition {{partition}}"),
                width=8,
            )
        )
        .with_panel(
            lines(
                "Partitions of each downloader",
                "How the group shared the topic. Even is good; a pod with none idles.",
                Query(f"sum by (pod) ({downloader}partitions{{{_OURS}}})", "{{pod}}"),
                stacked=True,
                stepped=True,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Unfinished",
                "Uploads of which records are missing yet, and whole files that are being delivered. "
                "Uploads that stay for long were interrupted at their source; they expire by themselves.",
                Query(f"sum({downloader}uploads_in_flight{{{_OURS}}})", "uploads"),
                Query(f"sum({downloader}deliveries_in_flight{{{_OURS}}})", "deliveries"),
                width=8,
            )
        )
        .with_panel(
            lines(
                "Paused",
                "1 while a downloader takes nothing because its volume is full, read-only or slow. Make "
                "room, or mend the volume: it goes on by itself.",
                Query(f"max by (pod) ({downloader}paused{{{_OURS}}})", "{{pod}}"),
                stepped=True,
                bad_from=1,
                most=1,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Refused, by reason",
                "Records and uploads per second. `incomplete`, `digest` and `expired` are sent again by "
                "themselves; all others need someone: docs/wire.md says what each means.",
                Query(promql.rate(f"{downloader}refused_total", "reason", where=_OURS), "{{reason}}"),
                Query(promql.total_rate(f"{downloader}refused_total", _OURS), "all"),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Skipped, and receipts",
                "Per second: files that the destination does not want (filtered, or there already), and "
                "answers that Kafka has. As many answers as files is good.",
                Query(promql.total_rate(f"{downloader}files_skipped_total", _OURS), "skipped"),
                Query(promql.rate(f"{downloader}receipts_total", "type", where=_OURS), "{{type}}"),
                Query(promql.total_rate(f"{downloader}receipts_repeated_total", _OURS), "repeated"),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Commits of offsets",
                "Per second, of partitions. Some fail at a rebalance. If none succeeds for minutes, a "
                "restart reads much again: look at the group's permissions and at the brokers.",
                Query(promql.rate(f"{downloader}commits_total", where=_OURS), "accepted"),
                Query(promql.total_rate(f"{downloader}commit_failures_total", _OURS), "failed"),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Lost",
                "Records that Kafka deleted before they were read (raise the topic's retention, or be away "
                "for less long), and partitions read again because the volume had lost bytes (look at the "
                "volume). Both should stay 0.",
                Query(f"sum(increase({downloader}records_lost_total{{{_OURS}}}[{promql.RATE}]))", "records"),
                Query(
                    f"sum(increase({downloader}partition_restarts_total{{{_OURS}}}[{promql.RATE}]))",
                    "partitions read again",
                ),
                width=8,
            )
        )
        .with_panel(
            lines(
                "Memory for whole files",
                "Bytes of small files that wait in memory for their delivery, by pod.",
                Query(f"sum by (pod) ({downloader}held_bytes{{{_OURS}}})", "{{pod}}"),
                unit=BYTES,
                width=8,
            )
        )
    )


def _latency(found: builders.Dashboard) -> builders.Dashboard:
    shares = (0.5, 0.9, 0.99)
    return (
        found.with_row(builders.Row("Latency"))
        .with_panel(
            heat(
                "Close to visible, all files",
                "How many files per second took how long from being at rest at their source until they were "
                "visible. Two bands: two kinds of files, or a partition that lags. Needs clocks that agree.",
                promql.rate(f"{_VISIBLE}_bucket", "le", where=_OURS),
            )
        )
        .with_panel(
            lines(
                "Close to visible",
                "Quantiles of the same. High while few files wait: large files or a slow volume. High while "
                "many wait: more partitions and downloaders help.",
                *quantiles(_VISIBLE, shares, where=_OURS),
                unit=SECONDS,
                width=6,
            )
        )
        .with_panel(
            lines(
                "Close to acknowledged",
                "The uploader's part: until Kafka had all of the file. High: its network, its rate limit, "
                "or the brokers.",
                *quantiles(_ACKNOWLEDGED, shares, where=_OURS),
                unit=SECONDS,
                width=6,
            )
        )
    )


def _scaling(found: builders.Dashboard) -> builders.Dashboard:
    stream = "penstock_operator_stream_"
    return (
        found.with_row(builders.Row("Scaling"))
        .with_panel(
            lines(
                "Downloaders",
                "How many there are to be, how many are ready, and the partitions, above which more would "
                "idle. Ready below desired for minutes: `kubectl get pods` shows what they wait for. "
                "Desired below what you expect: the condition ScalingLimited says why.",
                Query(f"max({stream}desired_replicas{{{_OURS}}})", "desired"),
                Query(f"max({stream}ready_replicas{{{_OURS}}})", "ready"),
                Query(f"max({stream}partitions{{{_OURS}}})", "partitions"),
                stepped=True,
            )
        )
        .with_panel(
            lines(
                "Records waiting",
                "Records that the destination has not read for good, as the operator sees them; in mode Lag "
                "it scales by them. A gap: Kafka could not be read then, and the number of downloaders is "
                "held.",
                Query(f"max({stream}lag_records{{{_OURS}}})", "records"),
            )
        )
    )


def _registry(found: builders.Dashboard) -> builders.Dashboard:
    per_destination = (
        ("delivered", "penstock_delivered_files_total"),
        ("rejected", "penstock_rejected_files_total"),
        ("skipped", "penstock_skipped_files_total"),
    )
    return (
        found.with_row(builders.Row("What the registry knows of the topic"))
        .with_panel(
            lines(
                "Files by state",
                "What the newest version of each file has come to. Rejected and failed ones need someone; "
                "all others are done or on their way.",
                Query(promql.known("penstock_stream_files", "state", where=_KNOWN), "{{state}}"),
                stacked=True,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Answers, by destination",
                "Files per second that each destination received, rejected or did not want, destinations "
                "elsewhere included.",
                *(
                    Query(
                        promql.known_rate(metric, "destination", where=_KNOWN),
                        f"{outcome} {{{{destination}}}}",
                    )
                    for outcome, metric in per_destination
                ),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Bytes waiting, by destination",
                "Bytes of files that Kafka has and each destination has not answered.",
                Query(
                    promql.known("penstock_stream_lag_bytes", "destination", where=_KNOWN), "{{destination}}"
                ),
                unit=BYTES,
                width=8,
            )
        )
    )


def _kafka(found: builders.Dashboard) -> builders.Dashboard:
    client = "penstock_kafka_client_"
    return (
        found.with_row(builders.Row("Kafka clients"))
        .with_panel(
            lines(
                "Brokers connected",
                "By pod and client. 0: it waits for a broker; see address, network and credentials.",
                Query(f"min by (pod, client) ({client}brokers_up{{{_OURS}}})", "{{pod}} {{client}}"),
                stepped=True,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Waiting in producers",
                "Bytes that producers hold and Kafka has not acknowledged, by pod and client.",
                Query(f"max by (pod, client) ({client}queue_bytes{{{_OURS}}})", "{{pod}} {{client}}"),
                unit=BYTES,
                width=8,
            )
        )
        .with_panel(
            lines(
                "On the network",
                "Bytes per second to and from the brokers, as they travel (compressed, with what Kafka "
                "adds).",
                Query(promql.rate(f"{client}sent_bytes", "client", where=_OURS), "sent {{client}}"),
                Query(promql.rate(f"{client}received_bytes", "client", where=_OURS), "received {{client}}"),
                unit=BYTES_PER_SECOND,
                width=8,
            )
        )
    )

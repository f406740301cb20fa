"""The operator and its webhook: does it see, decide and write, and until when does its certificate hold."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders

from dashboards import promql
from dashboards.page import OPERATOR, STREAM_URL, choice
from dashboards.page import page as begin
from dashboards.panels import (
    BAD,
    COUNT,
    DIM,
    FAIR,
    GOOD,
    PER_SECOND,
    SECONDS,
    Column,
    Query,
    lines,
    number,
    quantiles,
    rows,
)

_OURS: Final = 'namespace=~"$namespace"'
_READY: Final = {0: ("Not Ready", BAD), 1: ("Ready", GOOD)}
_ACTIVE: Final = {0: ("Held", FAIR), 1: ("Active", GOOD)}
_DAY: Final = 86_400


def page() -> builders.Dashboard:
    """Give the dashboard."""
    found = begin(
        OPERATOR,
        "The operator: the DirectoryStreams that it looks after, its work, its readings of Kafka, and the "
        "webhook that gives pods their sidecars.",
        choice(
            "namespace",
            "Namespace",
            "Namespaces of DirectoryStreams.",
            "penstock_operator_stream_info",
            several=True,
        ),
    )
    for add in (_now, _streams, _work, _kafka, _webhook):
        found = add(found)
    return found


def _now(found: builders.Dashboard) -> builders.Dashboard:
    ready = f"max by (namespace, stream) (penstock_operator_stream_ready{{{_OURS}}})"
    expiry = "penstock_operator_webhook_certificate_expiry_timestamp_seconds"
    return (
        found.with_panel(
            number(
                "Operators",
                "How many answer. None: nobody scales downloaders, and pods that ask for a sidecar cannot "
                "be made; look at its Deployment. More than one for long: two installations look after the "
                "same streams.",
                'count(up{job="penstock-operator"} == 1) or vector(0)',
                says={0: ("Away", BAD)},
            )
        )
        .with_panel(
            number(
                "DirectoryStreams",
                "How many the operator looks after.",
                "max(penstock_operator_streams)",
                base=DIM,
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Not Ready",
                "DirectoryStreams that are not Ready. The table names them; `kubectl describe dstream` says "
                "what is wrong and what to do.",
                f"count({ready} == 0) or vector(0)",
                bad_from=1,
            )
        )
        .with_panel(
            number(
                "Failed in the last hour",
                "Things that did not work: asked of Kubernetes, of Kafka, or by a bug of the operator. It "
                "tries all of them again; the graph below tells them apart, its log says what they were.",
                "sum(increase(penstock_operator_errors_total[1h])) or vector(0)",
                fair_from=1,
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Certificate holds for",
                "Until the webhook's certificate ends. Then no pod that asks for a sidecar can be made: "
                "docs/alerts.md says how to renew it. Nothing is shown without a webhook.",
                f"min({expiry}) - time()",
                unit=SECONDS,
                base=BAD,
                fair_from=_DAY,
                good_from=7 * _DAY,
            )
        )
        .with_panel(
            number(
                "Certificate's files",
                "Whether the webhook could use the certificate and key that it finds. If not, it goes on "
                "with what it had: put a matching pair into the Secret.",
                "max(penstock_operator_webhook_certificate_refused)",
                says={0: ("Good", GOOD), 1: ("Refused", BAD)},
            )
        )
    )


def _streams(found: builders.Dashboard) -> builders.Dashboard:
    in_depth = (
        f"{STREAM_URL}&var-namespace=${{__data.fields.Namespace}}"
        "&var-stream=${__data.fields.DirectoryStream}"
    )
    told = ("ready", "scaling_active", "partitions", "desired_replicas", "ready_replicas", "lag_records")
    return found.with_panel(
        rows(
            "Each DirectoryStream",
            "What the operator says of each. Not Ready: `kubectl describe dstream NAME`. Scaling held: "
            "Kafka cannot be read, or the stream is suspended, and the number of downloaders stays. Without "
            "Ready: suspended. A name leads to the stream in depth.",
            [
                Query(promql.known(f"penstock_operator_stream_{name}", "namespace", "stream", where=_OURS))
                for name in told
            ],
            (
                Column("stream", "DirectoryStream", link=in_depth),
                Column("namespace", "Namespace"),
                Column("Value #A", "Ready", texts=_READY),
                Column("Value #B", "Scaling", texts=_ACTIVE),
                Column("Value #C", "Partitions", COUNT, decimals=0),
                Column("Value #D", "Downloaders to be", COUNT, decimals=0),
                Column("Value #E", "Downloaders ready", COUNT, decimals=0),
                Column("Value #F", "Records waiting", COUNT, decimals=0),
            ),
            sort_by="Ready",
            descending=False,
        )
    )


def _work(found: builders.Dashboard) -> builders.Dashboard:
    operator = "penstock_operator_"
    return (
        found.with_row(builders.Row("Its work"))
        .with_panel(
            lines(
                "DirectoryStreams compared with what there is",
                "Times per second, by what came of it. Failed ones are tried again, less and less often.",
                Query(promql.rate(f"{operator}reconciles_total", "result"), "{{result}}"),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Time for one",
                "To compare one and do what is missing. Seconds: the API server is slow, or throttles.",
                *quantiles(f"{operator}reconcile_seconds"),
                unit=SECONDS,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Errors",
                "Per second, by whom something was asked of. `kubernetes`: permissions, quotas, or its API "
                "server; `kafka`: brokers or credentials; `operator`: a bug, please report it. The log has "
                "all of them.",
                Query(promql.rate(f"{operator}errors_total", "of"), "{{of}}"),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Writes to Kubernetes",
                "Requests per second that change something, by kind of object. 0 in a settled cluster: what "
                "never stands still is changed back by somebody else.",
                Query(promql.rate(f"{operator}writes_total", "kind"), "{{kind}}"),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "From new partitions to new downloaders",
                "Time until all downloaders that they called for were ready. Much of it is the cluster's: "
                "scheduling, images, nodes. Nothing is shown while no partitions are added.",
                *quantiles(f"{operator}new_partition_to_ready_seconds"),
                unit=SECONDS,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Scaling held",
                "DirectoryStreams whose number of downloaders is held, because Kafka cannot be read or they "
                "are suspended; and those that are not Ready.",
                Query(_count_zero("scaling_active"), "held"),
                Query(_count_zero("ready"), "not Ready"),
                stepped=True,
                width=8,
            )
        )
    )


def _kafka(found: builders.Dashboard) -> builders.Dashboard:
    readings = "penstock_operator_kafka_read_seconds"
    return (
        found.with_row(builders.Row("Its readings of Kafka"))
        .with_panel(
            lines(
                "Readings",
                "Times per second that all streams of a Kafka cluster were read. None: the operator is "
                "stuck; its log says where.",
                Query(promql.rate(f"{readings}_count"), "readings"),
                unit=PER_SECOND,
            )
        )
        .with_panel(
            lines(
                "Time for one reading",
                "Downloaders can be scaled only as often as this. Tens of seconds: brokers that do not "
                "answer.",
                *quantiles(readings),
                unit=SECONDS,
            )
        )
    )


def _webhook(found: builders.Dashboard) -> builders.Dashboard:
    injection = "penstock_operator_injection"
    expiry = "penstock_operator_webhook_certificate_expiry_timestamp_seconds"
    return (
        found.with_row(builders.Row("Its webhook"))
        .with_panel(
            lines(
                "Pods that the API server asked about",
                "Per second. Refused: their author was told why. Failed: a bug, please report it.",
                Query(promql.rate(f"{injection}s_total", "result"), "{{result}}"),
                unit=PER_SECOND,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Time to answer",
                "The API server waits for it, ten seconds at most. Nothing is shown while it does not ask.",
                *quantiles(f"{injection}_seconds"),
                unit=SECONDS,
                width=8,
            )
        )
        .with_panel(
            lines(
                "Certificate holds for",
                "It goes up when the certificate is renewed. One that only goes down is renewed by nobody.",
                Query(f"min({expiry}) - time()", "left"),
                unit=SECONDS,
                width=8,
            )
        )
    )


def _count_zero(name: str) -> str:
    metric = promql.known(f"penstock_operator_stream_{name}", "namespace", "stream", where=_OURS)
    return f"count({metric} == 0) or vector(0)"

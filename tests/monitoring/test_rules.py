"""Each alert fires when it should, not in the case beside it, and leads to what to do. promtool decides."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.metrics_tables import exposed_name, families
from tests.monitoring.prometheus import promtool
from tests.monitoring.queries import RULES, alerts, labels_of, metrics_of

pytestmark = pytest.mark.xdist_group("rules")

ALERTS_PAGE = Path(__file__).parents[2] / "docs" / "alerts.md"
OF_SCRAPE = {"job", "instance", "namespace", "stream", "pod"}

LAB = 'namespace="lab", stream="scope", pod="scope-0", instance="10.0.0.1:8651", job="penstock-streams"'
NEXT_POD = 'namespace="lab", stream="scope", pod="scope-1", instance="10.0.0.2:8651", job="penstock-streams"'
BOTH = 'stream="frames", destination="lab.scope"'
FIRST_REGISTRY = 'job="penstock-registry", pod="registry-0", instance="10.0.0.3:8651"'
SECOND_REGISTRY = 'job="penstock-registry", pod="registry-1", instance="10.0.0.4:8651"'
OPERATOR = 'job="penstock-operator", instance="10.0.0.5:8651"'
NEXT_OPERATOR = 'job="penstock-operator", instance="10.0.0.6:8651"'
OF_STREAM = 'namespace="lab", stream="scope"'


@dataclass(frozen=True, eq=False)
class Case:
    """Series, one sample a minute in promtool's notation, and what is seen of an alert after some time."""

    alert: str
    told: str
    series: Mapping[str, str]
    after: str
    fires: tuple[Mapping[str, str], ...] = field(default=())
    """Labels of each alert that fires, without its name and severity."""
    ever: bool = True
    """Whether it counts, too, if it fires before, and no more at that time."""

    def __str__(self) -> str:
        return f"{self.alert}, {self.told}"


def fires(alert: str, told: str, after: str, series: Mapping[str, str], **labels: str) -> Case:
    return Case(alert, told, series, after, (labels,))


def quiet(alert: str, told: str, after: str, series: Mapping[str, str]) -> Case:
    return Case(alert, told, series, after)


def over(alert: str, told: str, after: str, series: Mapping[str, str]) -> Case:
    return Case(alert, told, series, after, ever=False)


FILES = "penstock_stream_files"
LAG = "penstock_stream_lag_files"
DELIVERED = "penstock_delivered_files_total"
WRITTEN = "penstock_downloader_processed_bytes_total"
DOWNLOADER = "penstock_downloader_info"
READY = "penstock_operator_stream_ready"
INFO = "penstock_operator_stream_info"
LOST = "penstock_downloader_records_lost_total"
PAUSED = "penstock_downloader_paused"
COMMITS, FAILED_COMMITS = "penstock_downloader_commits_total", "penstock_downloader_commit_failures_total"
RESTARTS = "penstock_downloader_partition_restarts_total"
QUEUED, IN_FLIGHT = "penstock_uploader_queued_files", "penstock_uploader_in_flight_files"
PRODUCED = "penstock_uploader_messages_produced_total"
ERRORS = "penstock_uploader_errors_total"
BROKERS = "penstock_kafka_client_brokers_up"
PROGRAM = "penstock_program_up"
DATABASE = "penstock_registry_database_up"
BEHIND = "penstock_registry_behind_seconds"
MISSED = "penstock_registry_records_missed_total"
OPERATOR_ERRORS = "penstock_operator_errors_total"
INJECTIONS = "penstock_operator_injections_total"
EXPIRY = "penstock_operator_webhook_certificate_expiry_timestamp_seconds"
REFUSED = "penstock_operator_webhook_certificate_refused"

STUCK = {f"{LAG}{{{BOTH}}}": "3x40", f"{DELIVERED}{{{BOTH}}}": "7x40"}
KNOWN_STREAM = f'{INFO}{{{OF_STREAM}, topic="frames", destination="lab.scope"}}'
FRAMES = {"stream": "frames", "destination": "lab.scope"}
SCOPE = {"namespace": "lab", "stream": "scope"}

CASES = [
    # Files
    fires(
        "PenstockFileWillNotArrive", "a file is rejected", "6m",
        {f'{FILES}{{stream="frames", state="rejected"}}': "0 2x10"}, stream="frames", state="rejected",
    ),
    fires(
        "PenstockFileWillNotArrive", "a source failed", "6m",
        {f'{FILES}{{stream="frames", state="failed"}}': "1x10"}, stream="frames", state="failed",
    ),
    fires(
        "PenstockFileWillNotArrive", "two registries say so, the first of which ends", "12m",
        {
            f'{FILES}{{stream="frames", state="rejected", {FIRST_REGISTRY}}}': "1x6 stale",
            f'{FILES}{{stream="frames", state="rejected", {SECOND_REGISTRY}}}': "_ _ _ _ _ _ _ _ 1x10",
        },
        stream="frames", state="rejected",
    ),
    quiet(
        "PenstockFileWillNotArrive", "it was sent again at once", "20m",
        {f'{FILES}{{stream="frames", state="rejected"}}': "1x2 0x30"},
    ),
    quiet(
        "PenstockFileWillNotArrive", "files are on their way", "20m",
        {f'{FILES}{{stream="frames", state="uploading"}}': "4x30"},
    ),
    # Destinations
    fires("PenstockDestinationStuck", "files wait and none arrives", "15m", STUCK, **FRAMES),
    fires(
        "PenstockDestinationStuck", "over a restart of the registry", "22m",
        {
            f"{LAG}{{{BOTH}, {FIRST_REGISTRY}}}": "3x12 stale",
            f"{LAG}{{{BOTH}, {SECOND_REGISTRY}}}": "_x14 3x20",
        },
        **FRAMES,
    ),
    quiet(
        "PenstockDestinationStuck", "files arrive, though more wait", "30m",
        {f"{LAG}{{{BOTH}}}": "3+2x40", f"{DELIVERED}{{{BOTH}}}": "0+1x40"},
    ),
    quiet(
        "PenstockDestinationStuck", "nothing waits", "30m",
        {f"{LAG}{{{BOTH}}}": "0x40", f"{DELIVERED}{{{BOTH}}}": "7x40"},
    ),
    quiet(
        "PenstockDestinationStuck", "one arrives now and then", "40m",
        {f"{LAG}{{{BOTH}}}": "1x50", f"{DELIVERED}{{{BOTH}}}": "0x5 1x12 2x12 3x30"},
    ),
    quiet(
        "PenstockDestinationStuck", "they are not wanted, each with an answer", "30m",
        STUCK | {f"penstock_skipped_files_total{{{BOTH}}}": "0+1x40"},
    ),
    quiet(
        "PenstockDestinationStuck", "one large file is being written", "30m",
        STUCK
        | {f"{WRITTEN}{{{LAB}}}": "0+1000000x40"}
        | {f'{DOWNLOADER}{{{LAB}, topic="frames", destination="lab.scope"}}': "1x40"},
    ),
    fires(
        "PenstockDestinationStuck", "another destination of the topic is written to", "15m",
        STUCK
        | {f"{WRITTEN}{{{LAB}}}": "0+1000000x40"}
        | {f'{DOWNLOADER}{{{LAB}, topic="frames", destination="elsewhere"}}': "1x40"},
        **FRAMES,
    ),
    quiet(
        "PenstockDestinationStuck", "its DirectoryStream is suspended", "30m", STUCK | {KNOWN_STREAM: "1x40"}
    ),
    fires(
        "PenstockDestinationStuck", "its DirectoryStream is Ready", "15m",
        STUCK | {KNOWN_STREAM: "1x40", f"{READY}{{{OF_STREAM}}}": "1x40"}, **FRAMES,
    ),
    fires(
        "PenstockDestinationStuck", "the operator is replaced meanwhile", "15m",
        STUCK
        | {
            f'{INFO}{{{OF_STREAM}, topic="frames", destination="lab.scope", {OPERATOR}}}': "1x8 stale",
            f"{READY}{{{OF_STREAM}, {OPERATOR}}}": "1x8 stale",
            f'{INFO}{{{OF_STREAM}, topic="frames", destination="lab.scope", {NEXT_OPERATOR}}}': "_x9 1x20",
            f"{READY}{{{OF_STREAM}, {NEXT_OPERATOR}}}": "_x11 1x20",
        },
        **FRAMES,
    ),
    fires(
        "PenstockRecordsLost", "a running downloader loses some", "10m",
        {f"{LOST}{{{LAB}}}": "0x4 9x20"}, **SCOPE,
    ),
    fires(
        "PenstockRecordsLost", "a downloader has lost some when it is first asked", "70m",
        {f"{LOST}{{{LAB}}}": "_x65 9x20"}, **SCOPE,
    ),
    quiet("PenstockRecordsLost", "none was lost", "70m", {f"{LOST}{{{LAB}}}": "0x80"}),
    over("PenstockRecordsLost", "it was more than an hour ago", "130m", {f"{LOST}{{{LAB}}}": "9x140"}),
    fires("PenstockDestinationPaused", "the volume is full", "16m", {f"{PAUSED}{{{LAB}}}": "1x20"}, **SCOPE),
    fires(
        "PenstockDestinationPaused", "the pod is replaced, and the volume still full", "20m",
        {f"{PAUSED}{{{LAB}}}": "1x8 stale", f"{PAUSED}{{{NEXT_POD}}}": "_x10 1x20"}, **SCOPE,
    ),
    quiet(
        "PenstockDestinationPaused", "it is slow now and then", "30m",
        {f"{PAUSED}{{{LAB}}}": "1x5 0 1x5 0 1x5 0 1x5 0 1x20"},
    ),
    fires(
        "PenstockCommitsFail", "all fail", "25m",
        {
            f'{FAILED_COMMITS}{{{LAB}, error="GROUP_AUTHORIZATION_FAILED"}}': "0+1x40",
            f"{COMMITS}{{{LAB}}}": "5x40",
        },
        **SCOPE,
    ),
    quiet(
        "PenstockCommitsFail", "some fail, others are accepted", "25m",
        {
            f'{FAILED_COMMITS}{{{LAB}, error="REBALANCE_IN_PROGRESS"}}': "0+1x40",
            f"{COMMITS}{{{LAB}}}": "5+1x40",
        },
    ),
    quiet(
        "PenstockCommitsFail", "two failed at a rebalance, and the stream is idle", "30m",
        {
            f'{FAILED_COMMITS}{{{LAB}, error="REBALANCE_IN_PROGRESS"}}': "0x2 2x40",
            f"{COMMITS}{{{LAB}}}": "5x40",
        },
    ),
    quiet(
        "PenstockDestinationStuck", "they waited for nine minutes", "30m",
        {f"{LAG}{{{BOTH}}}": "0x5 3x8 0x30", f"{DELIVERED}{{{BOTH}}}": "7x13 10x30"},
    ),
    quiet(
        "PenstockDestinationStuck", "they are refused, one by one", "30m",
        STUCK | {f"penstock_rejected_files_total{{{BOTH}}}": "0+1x40"},
    ),
    fires("PenstockBytesLostOnDisk", "a sync failed", "10m", {f"{RESTARTS}{{{LAB}}}": "0x4 1x20"}, **SCOPE),
    quiet("PenstockBytesLostOnDisk", "it never did", "10m", {f"{RESTARTS}{{{LAB}}}": "0x20"}),
    # Sources
    fires(
        "PenstockUploaderStuck", "Kafka takes nothing", "15m",
        {f"{QUEUED}{{{LAB}}}": "4x30", f"{IN_FLIGHT}{{{LAB}}}": "1x30", f"{PRODUCED}{{{LAB}}}": "9x30"},
        **SCOPE,
    ),
    quiet(
        "PenstockUploaderStuck", "it sends", "15m",
        {f"{QUEUED}{{{LAB}}}": "4x30", f"{IN_FLIGHT}{{{LAB}}}": "1x30", f"{PRODUCED}{{{LAB}}}": "9+1x30"},
    ),
    quiet(
        "PenstockUploaderStuck", "there is nothing to send", "15m",
        {f"{QUEUED}{{{LAB}}}": "0x30", f"{IN_FLIGHT}{{{LAB}}}": "0x30", f"{PRODUCED}{{{LAB}}}": "9x30"},
    ),
    quiet(
        "PenstockUploaderStuck", "the brokers were restarted", "40m",
        {
            f"{QUEUED}{{{LAB}}}": "4x40",
            f"{IN_FLIGHT}{{{LAB}}}": "1x40",
            f"{PRODUCED}{{{LAB}}}": "0+9x5 45x12 60+9x30",
        },
    ),
    fires(
        "PenstockDirectoryUnreadable", "at each scan", "30m",
        {f'{ERRORS}{{{LAB}, reason="unreadable-directory"}}': "0+1x40"}, **SCOPE,
    ),
    quiet(
        "PenstockDirectoryUnreadable", "a file cannot be read", "30m",
        {f'{ERRORS}{{{LAB}, reason="unreadable"}}': "0+1x40"},
    ),
    over(
        "PenstockDirectoryUnreadable", "it can be read again", "60m",
        {f'{ERRORS}{{{LAB}, reason="unreadable-directory"}}': "0+1x10 10x60"},
    ),
    quiet(
        "PenstockDirectoryUnreadable", "one went while it was looked at", "60m",
        {f'{ERRORS}{{{LAB}, reason="unreadable-directory"}}': "0x10 1x60"},
    ),
    # Kafka and programs
    fires(
        "PenstockKafkaAway", "a client finds no broker", "20m",
        {f'{BROKERS}{{{LAB}, client="producer"}}': "1x4 0x30"},
        client="producer", job="penstock-streams", pod="scope-0", instance="10.0.0.1:8651", **SCOPE,
    ),
    quiet(
        "PenstockKafkaAway", "it is away for thirteen minutes", "40m",
        {f'{BROKERS}{{{LAB}, client="producer"}}': "1x4 0x12 1x30"},
    ),
    quiet(
        "PenstockKafkaAway", "connections are lost and made again", "40m",
        {f'{BROKERS}{{{LAB}, client="producer"}}': "0x4 1 0x4 1 0x4 1 0x4 1 0x4 1 0x4 1 0x4 1 0x4 1"},
    ),
    quiet(
        "PenstockKafkaAway", "the pod has gone", "40m",
        {f'{BROKERS}{{{LAB}, client="producer"}}': "0x6 stale"}
    ),
    fires(
        "PenstockProgramSilent", "one falls silent", "8m",
        {f'{PROGRAM}{{program_id="scope-pc", service="uploader", kind="penstock"}}': "1 0x20"},
        program_id="scope-pc", service="uploader",
    ),
    quiet(
        "PenstockProgramSilent", "another one takes its place", "20m",
        {f'{PROGRAM}{{program_id="scope-pc", service="uploader", kind="penstock"}}': "1 0 0 stale"},
    ),
    fires(
        "PenstockScrapeFails", "a pod hangs", "16m", {f"up{{{LAB}}}": "0x20"},
        job="penstock-streams", pod="scope-0", instance="10.0.0.1:8651", **SCOPE,
    ),
    quiet("PenstockScrapeFails", "a pod starts", "30m", {f"up{{{LAB}}}": "0x5 1x30"}),
    quiet(
        "PenstockScrapeFails", "a pod is replaced", "40m",
        {f"up{{{LAB}}}": "0x5 stale", f"up{{{NEXT_POD}}}": "_x6 1x40"},
    ),
    quiet("PenstockScrapeFails", "somebody else's hangs", "30m", {'up{job="others", instance="a"}': "0x40"}),
    # The registry
    fires("PenstockRegistryAway", "there is none", "6m", {'up{job="others", instance="a"}': "1x20"}),
    fires("PenstockRegistryAway", "it does not answer", "6m", {f"up{{{FIRST_REGISTRY}}}": "0x20"}),
    quiet(
        "PenstockRegistryAway", "one of two does", "20m",
        {f"up{{{FIRST_REGISTRY}}}": "0x30", f"up{{{SECOND_REGISTRY}}}": "1x30"},
    ),
    quiet(
        "PenstockRegistryAway", "it is rolled out", "20m",
        {f"up{{{FIRST_REGISTRY}}}": "1x6 stale", f"up{{{SECOND_REGISTRY}}}": "_x9 1x30"},
    ),
    fires("PenstockRegistryDatabaseAway", "for minutes", "5m", {f"{DATABASE}{{{FIRST_REGISTRY}}}": "1 0x20"}),
    quiet(
        "PenstockRegistryDatabaseAway", "one of two reaches it", "10m",
        {f"{DATABASE}{{{FIRST_REGISTRY}}}": "0x20", f"{DATABASE}{{{SECOND_REGISTRY}}}": "1x20"},
    ),
    quiet(
        "PenstockRegistryDatabaseAway", "it was restarted", "20m",
        {f"{DATABASE}{{{FIRST_REGISTRY}}}": "1x3 0 0 1x20"},
    ),
    fires("PenstockRegistryBehind", "for long", "10m", {f"{BEHIND}{{{FIRST_REGISTRY}}}": "400+60x20"}),
    quiet(
        "PenstockRegistryBehind", "it catches up", "20m",
        {f"{BEHIND}{{{FIRST_REGISTRY}}}": "400 350 100 0x30"},
    ),
    fires(
        "PenstockRegistryMissedRecords", "receipts", "70m",
        {f'{MISSED}{{{FIRST_REGISTRY}, topic_kind="receipts"}}': "_x65 15x20"}, topic_kind="receipts",
    ),
    quiet(
        "PenstockRegistryMissedRecords", "telemetry", "70m",
        {f'{MISSED}{{{FIRST_REGISTRY}, topic_kind="events"}}': "_x5 15x20 30x60"},
    ),
    # The operator
    fires("PenstockOperatorAway", "there is none", "6m", {'up{job="others", instance="a"}': "1x20"}),
    quiet(
        "PenstockOperatorAway", "it is rolled out", "20m",
        {f"up{{{OPERATOR}}}": "1x6 stale", f"up{{{NEXT_OPERATOR}}}": "_x9 1x30"},
    ),
    fires("PenstockStreamNotReady", "for long", "16m", {f"{READY}{{{OF_STREAM}}}": "0x30"}, **SCOPE),
    fires(
        "PenstockStreamNotReady", "over a restart of the operator", "24m",
        {
            f"{READY}{{{OF_STREAM}, {OPERATOR}}}": "0x10 stale",
            f"{READY}{{{OF_STREAM}, {NEXT_OPERATOR}}}": "_x13 0x30",
        },
        **SCOPE,
    ),
    quiet(
        "PenstockStreamNotReady", "pods are rolled out", "30m",
        {f"{READY}{{{OF_STREAM}}}": "1x4 0x6 1x30"},
    ),
    quiet(
        "PenstockStreamNotReady", "it is suspended, or gone", "40m",
        {f"{READY}{{{OF_STREAM}}}": "0x8 stale"},
    ),
    fires(
        "PenstockOperatorBug", "of the operator", "10m",
        {f'{OPERATOR_ERRORS}{{{OPERATOR}, of="operator"}}': "0 1x20"},
    ),
    fires(
        "PenstockOperatorBug", "of the webhook", "10m",
        {f'{INJECTIONS}{{{OPERATOR}, result="failed"}}': "0 1x20"},
    ),
    quiet(
        "PenstockOperatorBug", "Kafka is away, and pods are refused for a reason", "30m",
        {
            f'{OPERATOR_ERRORS}{{{OPERATOR}, of="kafka"}}': "0+1x40",
            f'{INJECTIONS}{{{OPERATOR}, result="refused"}}': "0+1x40",
        },
    ),
    fires(
        "PenstockWebhookCertificateEnds", "within the week", "70m",
        {f"{EXPIRY}{{{OPERATOR}}}": f"{6 * 86400}x80"},
    ),
    quiet("PenstockWebhookCertificateEnds", "later", "70m", {f"{EXPIRY}{{{OPERATOR}}}": f"{8 * 86400}x80"}),
    quiet(
        "PenstockWebhookCertificateEnds", "there is no webhook", "70m",
        {f"{EXPIRY}{{{OPERATOR}}}": " ".join(["NaN"] * 80)},
    ),
    quiet(
        "PenstockWebhookCertificateEnds", "it is renewed", "70m",
        {f"{EXPIRY}{{{OPERATOR}}}": f"{6 * 86400}x30 {90 * 86400}x80"},
    ),
    fires("PenstockWebhookCertificateRefused", "for long", "16m", {f"{REFUSED}{{{OPERATOR}}}": "1x20"}),
    quiet(
        "PenstockWebhookCertificateRefused", "a pair is written file by file", "16m",
        {f"{REFUSED}{{{OPERATOR}}}": "1x2 0x20"},
    ),
]  # fmt: skip


FIRED = [case for case in CASES if case.fires]


def written(case: Case, file: Path, expected: Mapping[str, Any]) -> None:
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    test = {"interval": "1m", "input_series": series, **expected}
    rules = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(yaml.safe_dump(rules), encoding="utf-8")


def run_all(directory: Path, expected: Mapping[Case, Mapping[str, Any]]) -> dict[Case, str]:
    """Let promtool test each case, and return what it says of it."""
    files = {case: directory / f"{number}.yaml" for number, case in enumerate(expected)}
    for case, file in files.items():
        written(case, file, expected[case])
    said = promtool("test", "rules", *map(str, files.values())).stdout
    parts = re.split(r"^Unit Testing:  (.*)$", said, flags=re.MULTILINE)
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {case: told[str(file)].strip() for case, file in files.items()}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, str]:
    """SUCCESS, or what is different."""
    severity = {alert.name: alert.rule["labels"]["severity"] for alert in alerts()}
    expected = {}
    for case in CASES:
        about = {"alertname": case.alert, "severity": severity[case.alert], "alertstate": "firing"}
        seen = [", ".join(f'{k}="{v}"' for k, v in (about | dict(labels)).items()) for labels in case.fires]
        firing = f'ALERTS{{alertname="{case.alert}", alertstate="firing"}}'
        asked = {
            "expr": firing if case.fires or not case.ever else f"count_over_time({firing}[6h])",
            "eval_time": case.after,
            "exp_samples": [{"labels": f"ALERTS{{{labels}}}", "value": 1} for labels in seen],
        }
        expected[case] = {"promql_expr_test": [asked]}
    return run_all(tmp_path_factory.mktemp("verdicts"), expected)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, str]:
    """What promtool shows of alerts that nobody expected: their texts, too, as people get them."""
    expected = {
        case: {"alert_rule_test": [{"alertname": case.alert, "eval_time": case.after, "exp_alerts": []}]}
        for case in FIRED
    }
    return run_all(tmp_path_factory.mktemp("texts"), expected)


def test_promtool_has_nothing_to_say_against_them():
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stdout
    assert f"SUCCESS: {len(alerts())} rules found" in checked.stdout


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_alert_fires_when_it_should(verdicts: dict[Case, str], case: Case):
    assert verdicts[case] == "SUCCESS"


@pytest.mark.parametrize("alert", alerts(), ids=str)
def test_every_alert_is_tried_both_ways(alert):
    tried = [bool(case.fires) for case in CASES if case.alert == alert.name]
    assert True in tried
    assert False in tried


@pytest.mark.parametrize("case", FIRED, ids=str)
def test_what_an_alert_says_names_the_thing(texts: dict[Case, str], case: Case):
    said = texts[case]
    found = dict(re.findall(r'(summary|description|runbook_url)="(.*?)"[,}]', said))
    assert found.keys() == {"summary", "description", "runbook_url"}, said
    for text in found.values():
        assert "error" not in text.lower() or case.alert == "PenstockOperatorBug", text
        assert "<no value>" not in text
        assert "  " not in text
        assert not re.search(r"\d\.\d{3,}", text), text
    told = found["summary"] + found["description"]
    for value in case.fires[0].values():
        assert value in told or value in ("rejected", "failed", "receipts"), value


@pytest.mark.parametrize("alert", alerts(), ids=str)
def test_every_alert_says_how_bad_it_is_and_leads_to_its_runbook(alert):
    assert alert.rule["labels"] == {"severity": alert.rule["labels"]["severity"]}
    assert alert.rule["labels"]["severity"] in ("critical", "warning")
    assert alert.rule["annotations"]["runbook_url"] == f"docs/alerts.md#{alert.name.lower()}"
    assert len(alert.rule["annotations"]["summary"]) < 120


def test_names_are_told_apart():
    names = [alert.name for alert in alerts()]
    assert len(set(names)) == len(names)


def test_the_page_has_a_runbook_for_each_in_the_same_order():
    text = ALERTS_PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert headings == [alert.name for alert in alerts()]
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        name, _, rest = part.partition("\n")
        assert "```" in rest or "`" in rest, f"{name} has no command"
        assert len(rest.split()) > 40, f"{name} says too little"


@pytest.mark.parametrize("alert", alerts(), ids=str)
def test_an_alert_asks_for_metrics_and_labels_that_there_are(alert):
    known = {
        exposed_name(metric): set(labels) for metrics in families().values() for metric, labels in metrics
    }
    asked = metrics_of(alert.expr)
    assert asked <= known.keys()
    assert asked or "up{" in alert.expr
    labels = set().union(*(known[metric] for metric in asked))
    assert labels_of(alert.expr) <= labels | OF_SCRAPE

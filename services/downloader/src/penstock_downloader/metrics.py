"""What a downloader counts."""

from prometheus_client import Counter, Gauge, Histogram

INFO = Gauge(
    "penstock_downloader_info",
    "Which topic this process reads, and as which destination (consumer group); always 1.",
    ["topic", "destination"],
)
MESSAGES_READ = Counter("penstock_downloader_messages_read", "Records read from the topic.")
BYTES_READ = Counter("penstock_downloader_read_bytes", "Bytes of the values of records read from the topic.")
MESSAGES_PROCESSED = Counter(
    "penstock_downloader_messages_processed", "Records whose bytes were written, or that ended an upload."
)
BYTES_PROCESSED = Counter("penstock_downloader_processed_bytes", "Bytes written to partial and whole files.")
FILES_DELIVERED = Counter("penstock_downloader_files_delivered", "Files that became visible at their path.")
BYTES_DELIVERED = Counter("penstock_downloader_delivered_bytes", "Bytes of files that became visible.")
FILES_SKIPPED = Counter(
    "penstock_downloader_files_skipped", "Files that are not wanted here, by reason.", ["reason"]
)
REFUSED = Counter(
    "penstock_downloader_refused", "Records and uploads that were refused, by reason.", ["reason"]
)
RECEIPTS = Counter(
    "penstock_downloader_receipts", "Receipts that the brokers have acknowledged, by type.", ["type"]
)
RECEIPTS_AGAIN = Counter(
    "penstock_downloader_receipts_repeated", "Receipts given once more, for records that came again."
)
RECORDS_LOST = Counter(
    "penstock_downloader_records_lost", "Offsets that were gone before they were read (retention was faster)."
)
COMMITS = Counter("penstock_downloader_commits", "Offset commits of partitions that Kafka has accepted.")
COMMIT_FAILURES = Counter(
    "penstock_downloader_commit_failures", "Offset commits of partitions that failed, by error.", ["error"]
)
RESTARTS = Counter(
    "penstock_downloader_partition_restarts",
    "How often a partition was read again from its checkpoint, because bytes on disk were lost.",
)
UPLOADS_IN_FLIGHT = Gauge(
    "penstock_downloader_uploads_in_flight", "Uploads of which some records have come, but not all."
)
DELIVERIES_IN_FLIGHT = Gauge(
    "penstock_downloader_deliveries_in_flight", "Complete files that are being delivered."
)
HELD_BYTES = Gauge("penstock_downloader_held_bytes", "Bytes of whole files held in memory for delivery.")
PARTITIONS = Gauge("penstock_downloader_partitions", "Partitions that this process is assigned.")
LAG = Gauge(
    "penstock_downloader_lag_records",
    "Records between what was read and the end of a partition.",
    ["partition"],
)
PAUSED = Gauge(
    "penstock_downloader_paused", "1 while consumption is paused (full, read-only or slow destination)."
)
VISIBLE_SECONDS = Histogram(
    "penstock_downloader_close_to_visible_seconds",
    "Seconds from when the source saw a file at rest until it was visible here; needs clocks that agree.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200),
)


def totals() -> dict[str, int]:
    """Give what this process has done so far, by the names that heartbeats have for it."""
    return {
        "n_messages_read": _total(MESSAGES_READ),
        "n_bytes_read": _total(BYTES_READ),
        "n_messages_processed": _total(MESSAGES_PROCESSED),
        "n_bytes_processed": _total(BYTES_PROCESSED),
        "n_messages_produced": _total(RECEIPTS),
    }


def _total(counter: Counter) -> int:
    samples = (sample for metric in counter.collect() for sample in metric.samples)
    return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))

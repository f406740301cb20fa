"""What the uploader counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

INFO = Gauge("penstock_uploader_info", "Which topic this process sends to; always 1.", ["topic"])
WAITING_FOR_OTHER = Gauge(
    "penstock_uploader_waiting_for_other",
    "1 while another uploader has the directory; this one sends nothing.",
)
FILES_DISCOVERED = Counter("penstock_uploader_files_discovered", "Files found that were new or changed.")
FILES_ACKNOWLEDGED = Counter("penstock_uploader_files_acknowledged", "Uploads that Kafka has, complete.")
FILES_UNCHANGED = Counter(
    "penstock_uploader_files_unchanged", "Files looked at that held what was sent before."
)
FILES_RESENT = Counter(
    "penstock_uploader_files_resent", "Uploads begun because a destination asked for a file again."
)
BYTES_READ = Counter("penstock_uploader_read_bytes", "Bytes of files whose uploads are acknowledged.")
MESSAGES_PRODUCED = Counter("penstock_uploader_messages_produced", "Records that Kafka has.")
BYTES_PRODUCED = Counter("penstock_uploader_produced_bytes", "Bytes of files in records that Kafka has.")
RECEIPTS = Counter("penstock_uploader_receipts", "Answers of destinations, by what they say.", ["outcome"])
ERRORS = Counter("penstock_uploader_errors", "What went wrong, by reason.", ["reason"])
PRODUCERS_REPLACED = Counter("penstock_uploader_producers_replaced", "Producers that had to be replaced.")
IN_FLIGHT_BYTES = Gauge("penstock_uploader_in_flight_bytes", "Bytes sent and not yet acknowledged.")
IN_FLIGHT_FILES = Gauge("penstock_uploader_in_flight_files", "Files on their way.")
SETTLING_FILES = Gauge("penstock_uploader_settling_files", "Files that wait until they rest.")
QUEUED_FILES = Gauge("penstock_uploader_queued_files", "Files that are ready and wait for their turn.")
FAILED_FILES = Gauge("penstock_uploader_failed_files", "Files that cannot be sent as things are.")
for _reason in ("unreadable-directory", "producer"):
    ERRORS.labels(_reason)  # 0 before the first one, which else no rate would show
SECONDS_TO_ACKNOWLEDGED = Histogram(
    "penstock_uploader_close_to_acknowledged_seconds",
    "Seconds from a file being seen at rest until Kafka has all of it.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)

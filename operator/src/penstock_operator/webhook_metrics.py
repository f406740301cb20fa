"""What the webhook counts, and until when its certificate holds."""

from __future__ import annotations

import math

from prometheus_client import Counter, Gauge, Histogram

INJECTIONS = Counter(
    "penstock_operator_injections",
    "Pods that the API server asked about: injected, unchanged (nothing to do), refused (for a reason that "
    "its author was told), failed (refused too, because of a bug).",
    ["result"],
)
INJECTION_SECONDS = Histogram(
    "penstock_operator_injection_seconds",
    "Seconds to answer the API server about a pod.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CERTIFICATE_EXPIRY = Gauge(
    "penstock_operator_webhook_certificate_expiry_timestamp_seconds",
    "Until when the webhook's certificate holds, as Unix time; NaN without a webhook.",
)
CERTIFICATE_REFUSED = Gauge(
    "penstock_operator_webhook_certificate_refused",
    "1 while the webhook's files hold no usable certificate and key, and it goes on with what it had, or 0.",
)

for _result in ("injected", "unchanged", "refused", "failed"):
    INJECTIONS.labels(_result)
CERTIFICATE_EXPIRY.set(math.nan)  # which no alert takes for a time long ago

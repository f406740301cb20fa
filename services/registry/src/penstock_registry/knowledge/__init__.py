"""What follows from events: pure, a join of values.

Every row is the least upper bound of what the events about it say; joining is commutative, associative and
idempotent, so neither order nor repetition matters. What a file's state is, and what counts, throughput and
totals are made of, are functions of joined rows.
"""

from penstock_registry.knowledge.checking import check, check_not_ahead
from penstock_registry.knowledge.facts import Facts
from penstock_registry.knowledge.rows import (
    FileRow,
    Outcome,
    ReceiptRow,
    State,
    UploadRow,
    join_receipts,
    join_uploads,
)
from penstock_registry.knowledge.state import (
    NEWEST_UPLOADS,
    failed_for,
    is_under_way,
    new_file,
    rejected_by,
    state_of,
    with_answer,
    with_fact,
    with_state,
)
from penstock_registry.knowledge.sums import IN_KAFKA, Sums, in_counts, in_throughput, in_totals

__all__ = [
    "IN_KAFKA",
    "NEWEST_UPLOADS",
    "Facts",
    "FileRow",
    "Outcome",
    "ReceiptRow",
    "State",
    "Sums",
    "UploadRow",
    "check",
    "check_not_ahead",
    "failed_for",
    "in_counts",
    "in_throughput",
    "in_totals",
    "is_under_way",
    "join_receipts",
    "join_uploads",
    "new_file",
    "rejected_by",
    "state_of",
    "with_answer",
    "with_fact",
    "with_state",
]

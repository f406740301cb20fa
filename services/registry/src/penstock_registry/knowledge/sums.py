"""What a row contributes to the sums. They change by the difference of what it did before and does after."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from typing import Final, Generic, TypeAlias, TypeVar

from penstock_registry.knowledge.facts import OUTCOME_BITS
from penstock_registry.knowledge.rows import FileRow, Outcome, ReceiptRow, UploadRow
from penstock_registry.knowledge.state import current_answers
from penstock_registry.store.schema import IN_KAFKA

MOST: Final = 2**56
"""Sums go no further: 64 PiB. Only what is made up comes there, and it must not stop what is true."""
STEPS: Final = (60, 3600)
"""How long the steps of `throughput` are, in seconds."""

K = TypeVar("K", bound=Hashable)
CountKey: TypeAlias = tuple[int, str, str]
"""Stream, destination, state or outcome."""
StepKey: TypeAlias = tuple[int, str, int, int]
"""Stream, destination, step, when it begins."""

__all__ = ["IN_KAFKA", "STEPS", "CountKey", "StepKey", "Sums", "in_counts", "in_throughput", "in_totals"]


class Sums(Generic[K]):
    """Files and bytes by key, as differences."""

    def __init__(self) -> None:
        self._sums: defaultdict[K, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, contributions: Iterable[tuple[K, int]], files: int = 1) -> None:
        """Take (key, bytes) of a row that came; with `files` -1, of one that went."""
        for key, size in contributions:
            entry = self._sums[key]
            entry[0] += files
            entry[1] += files * size

    def changes(self) -> Iterator[tuple[K, int, int]]:
        """Yield key, files and bytes of what is not zero, in order of keys."""
        for key, (files, size) in sorted(self._sums.items()):
            if files or size:
                yield key, max(-MOST, min(files, MOST)), max(-MOST, min(size, MOST))


def in_counts(file: FileRow) -> list[tuple[CountKey, int]]:
    """Return what a file contributes to `counts`."""
    stream, size = file.stream_id, file.size
    found = [((stream, "", file.state), size)]
    answers = current_answers(file)
    if answers or file.uploaded_at is not None:
        found.append(((stream, "", IN_KAFKA), size))
    found += [((stream, name, answer["outcome"]), size) for name, answer in answers.items()]
    return found


def in_throughput(row: UploadRow | ReceiptRow) -> list[tuple[StepKey, int]]:
    """Return what an upload or an answer contributes to `throughput`."""
    if isinstance(row, UploadRow):
        destination, at = "", row.uploaded_at
    elif row.outcome == Outcome.DELIVERED.value:
        destination, at = row.destination, row.at if row.visible_at is None else row.visible_at
    else:
        return []
    if at is None:
        return []
    return [((row.stream_id, destination, step, int(at // step) * step), row.size or 0) for step in STEPS]


def in_totals(row: UploadRow | ReceiptRow) -> list[tuple[CountKey, int]]:
    """Return what an upload or an answer contributes to `totals`: it only grows."""
    size = row.size or 0
    if isinstance(row, UploadRow):
        return [] if row.uploaded_at is None else [((row.stream_id, "", "uploaded"), size)]
    return [
        ((row.stream_id, row.destination, outcome), size)
        for outcome, bit in OUTCOME_BITS.items()
        if row.outcomes & bit
    ]

"""`penstock verify`: walk, hash, ask, judge."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from penstock import display, progress
from penstock.registry_answers import FileDetail, KnownFile
from penstock.registry_client import NotKnown, RegistryClient, RegistryError, instead
from penstock.verification.findings import NOBODY, Checked, Findings
from penstock.verification.hashing import Hashed, hashed_files
from penstock.verification.source import Source
from penstock.verification.verdicts import Finding, Here, Verdict, judge, wants_history
from penstock_uploader.watch import Sighting, walk
from servicekit.exceptions import PenstockError
from servicekit.globs import PathFilter

BATCH: Final = 300
"""Files that are asked for at once: the longest paths, escaped, stay below the 8 MiB of a question."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be verified."""

    source: Source
    stream: str
    destinations: tuple[str, ...]
    """Empty: all that have ever answered."""
    paths: PathFilter
    named_source: str | None = None
    """The source that was asked for by its name, not found out."""


class NothingSelected(PenstockError):
    """Of the files that are here none is to be compared."""


def verify(question: Question, client: RegistryClient, findings: Findings) -> None:
    """Compare a directory with the receipts. Raises PenstockError."""
    board = progress.board("checked", under_way="being read")
    source = question.source
    if progress.is_terminal(sys.stderr):
        files = size = 0
        for item in walk(source.root, source.below, question.paths):
            if isinstance(item, Sighting):
                files, size = files + 1, size + item.fingerprint.size
        board.expect(files, size)
    with board, closing(hashed_files(source.root, source.below, question.paths, board)) as hashed:
        for batch in _batches(hashed, BATCH):
            for checked in check(batch, source, question.stream, findings.destinations, client):
                findings.add(checked)
    if not findings.files:
        _refuse_an_empty_selection(question)


def check(
    batch: Sequence[Hashed],
    source: Source,
    stream: str,
    destinations: tuple[str, ...],
    client: RegistryClient,
) -> Iterator[Checked]:
    """Judge files by what the registry knows now."""
    wanted = [source.wire(file.path) for file in batch if file.digest is not None]
    known: dict[str, list[KnownFile]] = {}
    histories: dict[UUID, FileDetail] = {}
    # Of all sources: another one's file of the same path may have replaced ours.
    for found in client.lookup(stream, wanted).items if wanted else ():
        known.setdefault(found.name, []).append(found)
        if source.source_id in (None, found.source) and wants_history(found):
            histories[found.id] = client.file(found.id)
    for file in batch:
        wire = source.wire(file.path)
        findings = _findings(file, wire, known.get(wire, []), destinations, histories, source.source_id)
        yield Checked(source.relative(file.path), wire, file.size, file.digest, findings)


def _findings(
    file: Hashed,
    wire: str,
    known: Sequence[KnownFile],
    destinations: tuple[str, ...],
    histories: Mapping[UUID, FileDetail],
    source_id: str | None,
) -> dict[str, Finding]:
    names = destinations or (NOBODY,)
    if file.digest is None:
        verdict = Verdict.CHANGING if file.changing else Verdict.UNREADABLE
        return dict.fromkeys(names, Finding(verdict, file.problem))
    here = Here(wire, file.size, file.digest)
    return {name: judge(here, known, name or None, histories, source_id) for name in names}


def whose_receipts(question: Question, client: RegistryClient) -> tuple[str, ...]:
    """Return whose receipts count; empty: nobody has ever answered. Raises NotKnown for a wrong name."""
    stream, named = question.stream, question.named_source
    heard = tuple(destination.name for destination in client.stream(stream).destinations)
    for name in question.destinations:
        # Its downloader may run, and have had nothing to answer yet.
        if name not in heard and name not in (running := _told(client, stream, "destination")):
            unknown = f"the registry has never heard of a destination {name!r} of stream {stream!r}"
            raise NotKnown(unknown + instead(name, list(dict.fromkeys([*heard, *running]))))
    if named is not None and not client.has_source(stream, named):
        unknown = f"the registry has heard of no file that source {named!r} sends to stream {stream!r}"
        raise NotKnown(unknown + instead(named, _told(client, stream, "source_id")))
    return question.destinations or heard


def _told(client: RegistryClient, stream: str, key: str) -> list[str]:
    """Return the names that the programs of a stream give for themselves."""
    told = (str(program.status.get(key) or "") for program in client.programs(stream))
    return [name for name in dict.fromkeys(told) if name]


def places(stream: str, client: RegistryClient) -> dict[str, str]:
    """Return where destinations are, for people, as far as their downloaders have said it."""
    found: dict[str, str] = {}
    with contextlib.suppress(RegistryError):  # a kindness: the verdicts are there without it
        for program in client.programs(stream):
            name, directory = program.status.get("destination"), program.status.get("directory")
            if name and directory:
                found.setdefault(str(name), f"{directory} on {program.host}")
    return found


def _refuse_an_empty_selection(question: Question) -> None:
    """Raise NothingSelected if there are files, and the patterns leave out all of them."""
    everything = walk(question.source.root, question.source.below, PathFilter())
    left_out = sum(isinstance(item, Sighting) for item in everything)
    if left_out:
        files = display.count(left_out, "file")
        raise NothingSelected(
            f"--include and --exclude leave out {files}, all that is here: nothing was compared, so "
            "nothing is proved"
        )


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

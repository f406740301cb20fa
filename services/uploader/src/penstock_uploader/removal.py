"""Which source files are removed or moved away, and when: what the settings say, remembered in the ledger."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from chunkproto import UploadId
from chunkproto.paths import decode_path, encode_path
from penstock_uploader import metrics
from penstock_uploader.database import Database
from penstock_uploader.disposal import Disposal, DisposalThread, Disposed, Disposer, Fate
from penstock_uploader.ledger import numbers
from penstock_uploader.settings import UploaderSettings
from servicekit.filesystem import Fingerprint
from servicekit.logs import Limiter

log = logging.getLogger(__name__)

_SWEPT_AT_ONCE = 500


class Intents:
    """The disposals that are under way, in the ledger; and the versions that may be disposed of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def intend(self, disposals: Sequence[Disposal]) -> None:
        """Note what is about to be removed or moved away."""
        with self._database.write("disposing") as db:
            db.executemany(
                "INSERT OR REPLACE INTO disposals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        bytes(d.version),
                        encode_path(d.path),
                        d.action,
                        None if d.target is None else encode_path(d.target),
                        *numbers(d.fingerprint),
                        d.digest,
                    )
                    for d in disposals
                ],
            )

    def done(self, versions: Iterable[UploadId]) -> None:
        """Note that these are done with, whichever way it went."""
        with self._database.write("disposed") as db:
            db.executemany("DELETE FROM disposals WHERE version = ?", [(bytes(v),) for v in versions])

    def unfinished(self) -> list[Disposal]:
        """Give what an earlier run was about to remove or move away."""
        return [
            Disposal(
                UploadId(version),
                decode_path(path),
                action,
                None if target is None else decode_path(target),
                Fingerprint(*numbers),
                digest,
            )
            for version, path, action, target, *numbers, digest in self._database.all(
                "SELECT * FROM disposals"
            )
        ]

    def due(
        self, required: Sequence[str], limit: int, after: bytes, version: bytes | None = None
    ) -> list[Disposal]:
        """Give standing versions, after a given one, to which all of `required` have given receipts."""
        which = "f.version > ?" if version is None else "f.version = ?"
        marks = ", ".join("?" for _ in required)
        rows = self._database.all(
            "SELECT f.version, f.path, f.size, f.mtime_ns, f.ctime_ns, f.inode, f.digest FROM files f "  # noqa: S608
            f"JOIN uploads u ON u.id = f.version WHERE u.state = 'acknowledged' AND {which} AND "
            "(SELECT count(*) FROM answers a WHERE a.version = f.version AND a.outcome = 'delivered' "
            f"AND a.destination IN ({marks})) = ? ORDER BY f.version LIMIT ?",
            (after if version is None else version, *required, len(required), limit),
        )
        return [
            Disposal(UploadId(row[0]), decode_path(row[1]), "", None, Fingerprint(*row[2:6]), row[6])
            for row in rows
        ]

    def due_version(self, version: bytes, required: Sequence[str]) -> Disposal | None:
        """Give this version if it stands, is acknowledged, and all of `required` have given receipts."""
        found = self.due(required, 1, b"", version)
        return found[0] if found else None


class Removals:
    """Has sources removed that may be. For the service's thread alone; a thread of its own does the work."""

    def __init__(
        self,
        settings: UploaderSettings,
        database: Database,
        *,
        wake: Callable[[], None],
        changed: Callable[[str], None],
    ) -> None:
        """Begin; `changed` is told of paths that held something else than what was sent."""
        self._settings = settings
        self._root = settings.root
        self._required = tuple(settings.after_receipt_from) if settings.after_when == "delivered" else ()
        self._intents = Intents(database)
        self._changed = changed
        self._disposer = Disposer(self._root)
        self._thread = DisposalThread(self._disposer, wake)
        self._wanted: list[Disposal] = []
        self._later: dict[UploadId, Disposal] = {}
        """Could not be removed yet; tried again after the next scan."""
        self._swept = False
        self._held = False
        self._limiter = Limiter(every_seconds=60)

    @property
    def pending(self) -> bool:
        """Whether something is under way."""
        return bool(self._wanted) or self._thread.pending > 0

    def hold(self, *, held: bool) -> None:
        """Remove nothing while `held`; what is wanted meanwhile waits."""
        self._held = held
        self._thread.hold(held=held)

    def stop(self, seconds: float = 0.0) -> None:
        """End after the one that is under way, or after so many seconds: the next start takes it up."""
        self._thread.stop(seconds)

    def take_up(self) -> None:
        """Go on with what an earlier run had begun."""
        unfinished = self._intents.unfinished()
        for path in self._disposer.put_orphans_back({disposal.version for disposal in unfinished}):
            log.warning("%s lay aside since a crash, and is back at its place", path)
        for disposal in unfinished:
            self._thread.put(disposal)

    def acknowledged(self, version: UploadId, path: str, fingerprint: Fingerprint, digest: bytes) -> None:
        """Consider a version that Kafka has."""
        if self._settings.after == "keep":
            return
        if self._settings.after_when == "acknowledged":
            self._wanted.append(Disposal(version, path, "", None, fingerprint, digest))
        else:
            self.delivered(version)

    def delivered(self, version: UploadId) -> None:
        """Consider a version to which a receipt has come."""
        if self._settings.after == "keep" or self._settings.after_when != "delivered":
            return
        found = self._intents.due_version(version, self._required)
        if found is not None:
            self._wanted.append(found)

    def scanned(self) -> None:
        """Consider, after a scan, what could not be removed before, and once all that may be and is there."""
        if self._settings.after == "keep":
            return
        later, self._later = self._later, {}
        self._wanted += later.values()
        if self._swept:
            return
        self._swept = True
        after = b""
        while page := self._intents.due(self._required, _SWEPT_AT_ONCE, after):
            after = bytes(page[-1].version)
            self._wanted += [d for d in page if os.path.lexists(os.path.join(self._root, d.path))]
            self._begin()

    def step(self) -> None:
        """Have done what is wanted; take what was done."""
        self._begin()
        done = self._thread.take()
        if not done:
            return
        self._intents.done([item.disposal.version for item in done])
        for item in done:
            self._done(item)

    def _begin(self) -> None:
        if not self._wanted or self._held:
            return
        disposals = [
            replace(wanted, action=self._settings.after, target=self._target(wanted.path))
            for wanted in self._wanted
        ]
        self._wanted.clear()
        self._intents.intend(disposals)
        for disposal in disposals:
            self._thread.put(disposal)

    def _target(self, path: str) -> str | None:
        if self._settings.after != "move":
            return None
        return os.path.join(self._settings.move_target, *path.split("/"))

    def _done(self, item: Disposed) -> None:
        path = item.disposal.path
        if item.fate is Fate.DONE:
            log.info("%s %s", "deleted" if item.disposal.action == "delete" else "moved", path)
        elif item.fate is Fate.BUSY:
            self._later[item.disposal.version] = item.disposal
        elif item.fate is Fate.CHANGED:
            log.info("%s was changed after it was sent, and stays", path)
            self._changed(path)
        elif item.fate is Fate.DISPLACED:
            log.warning("%s was changed after it was sent, and another took its place: %s", path, item.detail)
            metrics.ERRORS.labels("displaced").inc()
        elif item.fate is Fate.REFUSED:
            metrics.ERRORS.labels("disposal").inc()
            self._later[item.disposal.version] = item.disposal
            if self._limiter.first(("disposal", item.detail)):
                log.error("%s cannot be removed: %s", path, item.detail)

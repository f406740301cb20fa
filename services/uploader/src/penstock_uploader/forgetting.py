"""Forgetting files that are long gone, so that a ledger does not grow with every name that ever was."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Final

from chunkproto.paths import decode_path
from penstock_uploader.database import Database

log = logging.getLogger(__name__)

_LOOKED_AT_ONCE: Final = 256
_MAX_ROUND_SECONDS: Final = 3600.0

# Nothing of it is on its way or asked for, Kafka has it, and all destinations that are named have answered.
_SETTLED: Final = """
    NOT EXISTS (SELECT 1 FROM uploads u WHERE u.file = files.id AND u.state != 'acknowledged')
    AND NOT EXISTS (SELECT 1 FROM answers a WHERE a.version = files.version
                    AND a.outcome IN ('again', 'resent'))
    AND NOT EXISTS (SELECT 1 FROM disposals d WHERE d.version = files.version)
    AND (version IS NULL OR (SELECT count(*) FROM answers a WHERE a.version = files.version
         AND a.outcome IN ('delivered', 'skipped') AND a.destination IN ({marks})) = {count})
"""


class Forgetting:
    """Looks, a few at a time, whether the files of the ledger are still there, and forgets what is settled.

    A file is forgotten when it has been gone for `remember_seconds`: counted from the first time that it was
    missed, so that a directory which was not mounted for a while loses nothing. That is never less than twice
    what the topic keeps records for: none of its records can then be on the topic, so that its partition need
    not be remembered. The highest upload id is kept in any case.
    """

    def __init__(
        self,
        database: Database,
        root: str,
        remember_seconds: float,
        required: Sequence[str],
        retention_seconds: Callable[[], float | None],
    ) -> None:
        """Begin; `retention_seconds` says how long the topic keeps records now (None: for ever)."""
        self._database = database
        self._root = root
        self._remember_seconds = remember_seconds
        self._settled = _SETTLED.format(marks=", ".join("?" for _ in required), count=len(required))
        self._required = required
        self._retention_seconds = retention_seconds
        self._next_round = 0.0
        self._after = 0

    def step(self, now: float, now_ms: int) -> None:
        """Look at the next few; `now` by a steady clock. Nothing is forgotten on a topic that keeps all."""
        retention = self._retention_seconds()
        if now < self._next_round or retention is None:
            return
        remember = max(self._remember_seconds, 2 * retention)
        rows = self._database.all(
            "SELECT id, path, gone_ms FROM files WHERE id > ? ORDER BY id LIMIT ?",
            (self._after, _LOOKED_AT_ONCE),
        )
        if len(rows) < _LOOKED_AT_ONCE:
            self._after = 0
            self._next_round = now + min(_MAX_ROUND_SECONDS, remember / 4)
        else:
            self._after = rows[-1][0]
        missed: list[tuple[int | None, int]] = []
        over: list[int] = []
        for number, path, gone_ms in rows:
            if os.path.lexists(os.path.join(self._root, decode_path(path))):
                if gone_ms is not None:
                    missed.append((None, number))
            elif gone_ms is None or gone_ms > now_ms:
                missed.append((now_ms, number))
            elif now_ms - gone_ms >= remember * 1000:
                over.append(number)
        if missed or over:
            self._write(missed, over)

    def _write(self, missed: list[tuple[int | None, int]], over: list[int]) -> None:
        forgotten = 0
        with self._database.write("forgotten") as db:
            db.executemany("UPDATE files SET gone_ms = ? WHERE id = ?", missed)
            for number in over:
                settled = f"SELECT version FROM files WHERE id = ? AND {self._settled}"  # noqa: S608
                row = db.execute(settled, (number, *self._required)).fetchone()
                if row is None:
                    continue
                db.execute("DELETE FROM answers WHERE version = ?", row)
                db.execute("DELETE FROM uploads WHERE file = ?", (number,))
                db.execute("DELETE FROM files WHERE id = ?", (number,))
                forgotten += 1
        if forgotten:
            log.info("%d files that are long gone were forgotten", forgotten)

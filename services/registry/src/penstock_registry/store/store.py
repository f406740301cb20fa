"""What is known, kept in a database."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from sqlalchemy import URL, Engine, select

from penstock_registry.store import migrating
from penstock_registry.store.batch import Batch, Position
from penstock_registry.store.database import connect, explained, patience_of, writing
from penstock_registry.store.learning import learn
from penstock_registry.store.retention import Forgotten, Retention
from penstock_registry.store.schema import positions
from servicekit.faults import crash_point, declare

__all__ = ["Store"]

declare("registry.learn.before-commit", "registry.learn.after-commit")

DEFAULT_RETENTION_SECONDS: Final = 90 * 86_400.0


class Store:
    """The registry's database: SQLite or PostgreSQL. May be used from several threads.

    Every method raises DatabaseUnavailable when the database is away: trying again later is the cure.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        retention_seconds: float = DEFAULT_RETENTION_SECONDS,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`max_bytes`: let the database grow to this size at most, by forgetting what is oldest.

        `stopping` is asked while the database is waited for: a stop gives up what does not end soon, which
        raises DatabaseUnavailable.
        """
        self.engine: Engine = connect(url, stopping=stopping)
        self._retention = Retention(retention_seconds, max_bytes)
        self._clock = clock
        self.ignored = 0
        """Events so far that were older than what is remembered."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    @property
    def problem(self) -> str | None:
        """What takes the database too long just now; None: nothing. Answers at once."""
        return patience_of(self.engine).problem

    def migrate(self) -> None:
        """Make the tables, or bring them to what this program needs.

        Several may do it at once. Raises DatabaseRefused when the server is too old, or a newer registry has
        changed the tables already.
        """
        migrating.migrate(self.engine)

    def positions(self) -> dict[tuple[str, int], Position]:
        """Return how far each topic's partitions were read."""
        with (
            patience_of(self.engine).doing("saying how far was read"),
            explained(self.engine),
            self.engine.connect() as connection,
        ):
            rows = connection.execute(select(*positions.c))
            return {(topic, number): Position(topic_id, offset) for topic, number, topic_id, offset in rows}

    def learn(self, batch: Batch) -> None:
        """Take in a batch, its positions with it, in one transaction.

        Events must have passed `knowledge.check`. What the database still cannot hold raises SQLAlchemy's
        DataError, IntegrityError or StatementError, and nothing of the batch is learned.
        """
        with writing(self.engine, "learning a batch") as connection:
            ignored = learn(connection, batch, now=self._clock(), retention_seconds=self._retention.seconds)
            crash_point("registry.learn.before-commit")
        crash_point("registry.learn.after-commit")
        self.ignored += ignored

    def forget(self, now: float | None = None) -> Forgotten:
        """Forget what is too old, in steps that hold nobody up."""
        return self._retention.forget(self.engine, self._clock() if now is None else now)

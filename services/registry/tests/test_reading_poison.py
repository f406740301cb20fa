"""A record that gets past every check, and that the database still refuses, is put aside; others are not."""

import pytest
from sqlalchemy.exc import DataError, OperationalError

from penstock_registry.exceptions import DatabaseUnavailable
from penstock_registry.readings import Reading, learn
from penstock_registry.records import TopicKind
from penstock_registry.store.batch import Batch, Position
from penstock_registry.store.store import Store
from servicekit.events import FileDiscovered

PLACE = ("penstock.events", 0)


class Refusing:
    """A store that refuses some values, as no database of today does."""

    def __init__(self, store: Store, *, error: Exception) -> None:
        self._store = store
        self._error = error
        self.refused = 0

    def positions(self):
        return self._store.positions()

    def learn(self, batch: Batch) -> None:
        if any(event.path.startswith("poison") for event in batch.events):
            self.refused += 1
            raise self._error
        self._store.learn(batch)


@pytest.fixture
def store(tmp_path):
    with Store(f"sqlite:///{tmp_path / 'registry.db'}", clock=lambda: 1.8e9) as store:
        store.migrate()
        yield store


def readings(*paths: str) -> list[Reading]:
    return [
        Reading(
            kind=TopicKind.EVENTS, place=PLACE, topic_id="id", offset=offset, at=1.8e9, head=b"head",
            said=FileDiscovered(time=1.8e9, source_id="lab", path=path, size=1, topic="raw"),
        )
        for offset, path in enumerate(paths)
    ]  # fmt: skip


def rows(store, table):
    with store.engine.connect() as connection:
        return connection.exec_driver_sql(f"SELECT * FROM {table}").all()


@pytest.mark.parametrize(
    "error",
    [
        DataError("INSERT", None, Exception("no such value")),
        ValueError("embedded null byte"),
        OverflowError("Python int too large to convert to SQLite INTEGER"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_only_the_records_that_are_refused_are_put_aside(store, error):
    refusing = Refusing(store, error=error)

    learn(refusing, readings("a", "b", "poison-1", "c", "d", "poison-2", "e"))

    assert len(rows(store, "files")) == 5
    assert [row[2] for row in rows(store, "problems")] == [2, 5]
    assert all("the database cannot hold it" in row[4] for row in rows(store, "problems"))
    assert store.positions() == {PLACE: Position("id", 7)}


@pytest.mark.parametrize(
    "error",
    [DatabaseUnavailable("away"), OperationalError("INSERT", None, Exception("no such table"))],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_fault_of_a_record_puts_none_aside(store, error):
    refusing = Refusing(store, error=error)

    with pytest.raises(type(error)):
        learn(refusing, readings("a", "poison"))

    assert refusing.refused == 1
    assert not rows(store, "problems")
    assert not store.positions()

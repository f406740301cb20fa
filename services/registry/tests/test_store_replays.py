"""The same events, in any order, any number of times, over any crashes, give the same tables."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sqlalchemy_event
from tests.registry_history import END, tellings
from tests.registry_tables import DERIVED, tables_from, tables_of

from penstock_registry.knowledge import check
from penstock_registry.store.learning import Batch, Position
from penstock_registry.store.store import Store
from servicekit.events import Event

LOG = ("penstock.events", 0)


class Crash(Exception):
    """The process ends."""


@contextmanager
def crashing(store: Store, at_statement: int) -> Iterator[None]:
    """Let the process end before its n-th statement."""
    left = [at_statement]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Crash

    sqlalchemy_event.listen(store.engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        sqlalchemy_event.remove(store.engine, "before_cursor_execute", count)


def read_all(url: str, heard: list[Event], sizes: list[int], crashes: list[int]) -> dict:
    """Learn a log in batches, as a registry that crashes now and then; return the tables."""
    left, size_of_batch = list(crashes), cycle(sizes)
    while True:
        with Store(url, clock=lambda: END) as store:
            try:
                while True:
                    known = store.positions().get(LOG)
                    start = known.next_offset if known else 0
                    if start == len(heard):
                        return tables_of(store.engine)
                    events = heard[start : start + next(size_of_batch)]
                    batch = Batch(events=events, positions={LOG: Position("T", start + len(events))})
                    with crashing(store, left.pop() if left else 1_000_000):
                        store.learn(batch)
            except Crash:
                continue


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the tables, to be copied."""
    path = tmp_path_factory.mktemp("store") / "empty.db"
    with Store(f"sqlite:///{path}") as store:
        store.migrate()
    return str(path)


@given(telling=tellings(files=3), crashes=st.lists(st.integers(0, 30), max_size=4))
@settings(max_examples=25, deadline=None)
def test_neither_order_nor_repetition_nor_crashes_change_the_tables(
    empty_database: str, telling: tuple[list[Event], list[Event], list[int]], crashes: list[int]
) -> None:
    history, heard, sizes = telling
    for event in history:
        check(event)
    with tempfile.TemporaryDirectory() as directory:
        shutil.copy(empty_database, f"{directory}/registry.db")
        tables = read_all(f"sqlite:///{directory}/registry.db", heard, sizes, crashes)
    expected = tables_from(history)
    for name in DERIVED:
        assert tables[name] == expected[name], name


@given(tellings(files=3))
@settings(max_examples=60, deadline=None)
def test_joining_knows_no_order(telling: tuple[list[Event], list[Event], list[int]]) -> None:
    history, heard, _sizes = telling
    assert tables_from(heard) == tables_from(history)

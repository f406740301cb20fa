"""Lists of files: whatever is asked for, following the pages meets each file that fits once, in order."""

import base64
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert

from penstock_registry.exceptions import BadQuestion
from penstock_registry.store.queries import Queries, Wanted
from penstock_registry.store.queries import files as listing
from penstock_registry.store.queries.rows import Topics, is_current
from penstock_registry.store.schema import file_key, files, name_key, stream_key, streams
from penstock_registry.store.store import Store

TOPICS = ("raw", "spectra", "empty")
STATES = ("discovered", "uploading", "uploaded", "delivered", "skipped", "rejected", "failed", "aborted")
LONG = b"deep/" * 60  # longer than what the index holds of a path
NAMES = (
    b"a.tif",
    b"A.TIF",
    b"b%_.tif",
    b"\xff\xfe",
    "Grö\u00dfe.dat".encode(),
    b"'; DROP TABLE files; --",
    b"a",
)
FOLDERS = (b"", b"run-1/", b"run-10/", b"RUN-1/", LONG, LONG + b"x/", b"\xff/")
SOURCES = ("microscope", "spectrometer")
DESTINATIONS = ("archive", 'lab "2"')


@dataclass(frozen=True)
class Fact:
    """One file, as the naive filter sees it."""

    id: uuid.UUID
    stream: str
    source: str
    path: bytes
    state: str
    last_at: float
    uploaded: bool
    answers: dict[str, tuple[str, bool]]
    """Outcome and whether it is current, by destination."""

    def seen_by(self, destination: str) -> str | None:
        outcome, current = self.answers.get(destination, ("", False))
        if current:
            return outcome
        if self.state not in ("uploaded", "delivered", "skipped", "rejected"):
            return "uploaded" if self.uploaded else None
        return "uploaded"

    def fits(self, wanted: Wanted) -> bool:
        name = self.path.rsplit(b"/", 1)[-1]
        sought = wanted.search.encode()
        return (
            wanted.stream in (None, self.stream)
            and wanted.source in (None, self.source)
            and self.path.startswith(wanted.path_prefix)
            and (wanted.since is None or self.last_at >= wanted.since)
            and (wanted.until is None or self.last_at < wanted.until)
            and (self.path.startswith(sought) or _fold(name).startswith(_fold(sought)))
            and self._in_state(wanted)
        )

    def _in_state(self, wanted: Wanted) -> bool:
        if wanted.destination is None:
            return not wanted.states or self.state in wanted.states
        if not wanted.states:
            return self.answers.get(wanted.destination, ("", False))[1]
        own = wanted.states - {"uploaded", "delivered", "skipped", "rejected"}
        return self.state in own or self.seen_by(wanted.destination) in wanted.states


def _fold(name: bytes) -> bytes:
    return name.decode("utf-8", "surrogateescape").casefold().encode("utf-8", "surrogateescape")


def _facts() -> list[Fact]:
    found = []
    for number in range(280):
        path = FOLDERS[number % len(FOLDERS)] + NAMES[number // 7 % len(NAMES)]
        if number >= 196:
            path += b"-%d" % number
        stream, source = TOPICS[number % 2], SOURCES[number // 3 % 2]
        state = STATES[number * 7 // 5 % 8]
        answers = {}
        if state in ("delivered", "skipped", "rejected"):
            answers[DESTINATIONS[number % 2]] = (state, True)
        if number % 5 == 0:
            answers[DESTINATIONS[(number + 1) % 2]] = ("delivered", False)
        uploaded = state in ("uploaded", "delivered", "skipped", "rejected") or number % 9 == 0
        key = file_key(stream, source, path)
        # Many of one moment: the id decides.
        found.append(Fact(key, stream, source, path, state, 1000.0 + number // 4, uploaded, answers))
    return list({fact.id: fact for fact in found}.values())


FACTS = _facts()


def fill(engine: Engine) -> None:
    older, version = uuid.UUID(int=1 << 100), uuid.UUID(int=1 << 110)
    with engine.begin() as connection:
        connection.execute(files.delete())
        connection.execute(streams.delete())
        connection.execute(
            insert(streams),
            [{"id": stream_key(t), "topic": t, "first_at": 1000.0, "last_at": 2000.0} for t in TOPICS],
        )
        connection.execute(
            insert(files),
            [
                {
                    "id": fact.id,
                    "stream_id": stream_key(fact.stream),
                    "source_id": fact.source,
                    "path": fact.path,
                    "name_key": name_key(fact.path),
                    "state": fact.state,
                    "version_id": version,
                    "size": 1,
                    "bytes_done": 0,
                    "uploaded_at": 1000.0 if fact.uploaded else None,
                    "answers": {
                        name: {
                            "upload_id": str(version if current else older),
                            "outcome": outcome,
                            "reason": None,
                            "detail": None,
                            "digest": None,
                            "at": 1000.0,
                        }
                        for name, (outcome, current) in fact.answers.items()
                    },
                    "first_at": 1000.0,
                    "last_at": fact.last_at,
                }
                for fact in FACTS
            ],
        )


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('queries')}/registry.db"


@pytest.fixture(scope="module")
def engine(database_url: str) -> Iterator[Engine]:
    with Store(database_url) as store:
        store.migrate()
        fill(store.engine)
        yield store.engine


def pages(engine: Engine, wanted: Wanted, limit: int, most: int) -> Iterator[list[uuid.UUID]]:
    topics = Topics({stream_key(topic): topic for topic in TOPICS}, {})
    cursor = None
    for _ in range(5 * len(FACTS)):
        with engine.connect() as connection:
            page = listing.page(connection, wanted, limit, cursor, topics, most=most)
        assert len(page.items) <= limit
        yield [item.id for item in page.items]
        cursor = page.next
        if cursor is None:
            return
    pytest.fail("the pages do not end")


def in_order(wanted: Wanted) -> list[uuid.UUID]:
    fitting = [fact for fact in FACTS if fact.fits(wanted)]
    if wanted.search:
        sought = wanted.search.encode()
        fitting.sort(
            key=lambda f: (
                (0, stream_key(f.stream), f.path[:256], f.id.bytes)
                if f.path.startswith(sought)
                else (1, stream_key(f.stream), name_key(f.path), f.id.bytes)
            )
        )
    elif wanted.by_path:
        fitting.sort(key=lambda f: (stream_key(f.stream), f.path[:256], f.id.bytes))
    else:
        fitting.sort(key=lambda f: (f.last_at, f.id.bytes), reverse=True)
    return [fact.id for fact in fitting]


PREFIXES = (b"", b"r", b"run-1", b"run-1/", LONG, LONG + b"x", LONG[:256], b"\xff", b"nobody", b"run-1/b%")
SEARCHES = ("", "a", "A", "run-1", "b%_", "gröSS", "'; DROP", LONG.decode(), "zzz", "run-1/a")
maybe = st.sampled_from

WANTED = st.builds(
    Wanted,
    stream=maybe((None, *TOPICS, "unknown")),
    source=maybe((None, *SOURCES, "nobody")),
    states=st.frozensets(maybe(STATES), max_size=3),
    destination=maybe((None, None, *DESTINATIONS, "nobody'")),
    path_prefix=maybe(PREFIXES),
    search=maybe(SEARCHES),
    since=maybe((None, None, 1010.0, 1040.5)),
    until=maybe((None, None, 1030.0, 1060.5)),
    order=maybe((None, "recent", "path")),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=WANTED, limit=st.integers(1, 120), most=st.integers(7, 400))
def test_the_pages_give_each_file_that_fits_once_and_in_order(engine, wanted, limit, most):
    met = [found for page in pages(engine, wanted, limit, most) for found in page]

    assert met == in_order(wanted)


def test_a_page_is_full_while_there_are_files_and_nothing_else_is_asked_for(engine):
    sizes = [len(page) for page in pages(engine, Wanted(), 50, most=2000)]

    assert set(sizes[:-1]) == {50}


def test_a_page_without_a_further_filter_is_not_followed_by_an_empty_one(engine):
    for wanted in (Wanted(), Wanted(order="path"), Wanted(path_prefix=b"run-1/"), Wanted(search="a")):
        assert all(page for page in pages(engine, wanted, 3, most=2000))


def test_a_cursor_of_other_filters_is_refused(engine):
    queries = Queries(engine)
    cursor = queries.files(Wanted(stream="raw"), 5).next

    for other in (Wanted(), Wanted(stream="spectra"), Wanted(stream="raw", order="path")):
        with pytest.raises(BadQuestion):
            queries.files(other, 5, cursor)
    assert queries.files(Wanted(stream="raw"), 7, cursor).items  # another limit is no other query


def test_a_file_keeps_its_path_whatever_is_in_it(engine):
    shown = {item.id: item for item in Queries(engine).files(Wanted(), 1000).items}

    for fact in FACTS:
        item = shown[fact.id]
        if item.path_base64 is None:
            assert item.path.encode() == fact.path
        else:
            assert "\ufffd" in item.path
            assert base64.b64decode(item.path_base64) == fact.path


def test_an_answer_is_current_if_it_is_to_this_version_or_a_younger_upload_of_it():
    older, version, again = (uuid.UUID(int=n) for n in (1, 2, 3))

    assert not is_current(older, version)
    assert is_current(version, version)
    assert is_current(again, version)


def test_the_state_that_a_destination_sees_is_its_own(engine):
    archive, waiting = DESTINATIONS[0], frozenset({"uploaded"})
    lag = {item.id for item in Queries(engine).files(Wanted(destination=archive, states=waiting), 1000).items}
    has = {item.id for item in Queries(engine).files(Wanted(destination=archive), 1000).items}

    assert lag
    assert has
    assert not lag & has
    assert {f.id for f in FACTS if f.state == "uploaded"} <= lag | has


def test_what_is_wanted_is_its_cursors_mark():
    wanted = Wanted(stream="raw", states=frozenset({"failed", "rejected"}))

    assert wanted.mark == replace(wanted, states=frozenset({"rejected", "failed"})).mark
    assert wanted.mark != replace(wanted, search="x").mark

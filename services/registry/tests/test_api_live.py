"""Live updates: what a listener hears, over a real connection."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
import uvicorn
from tests.registry_world import NOW, World
from tests.waiting import eventually

from penstock_registry.api.app import create_app
from penstock_registry.api.live import Live
from penstock_registry.exceptions import DatabaseUnavailable
from penstock_registry.store.queries import Queries
from penstock_registry.store.store import Store


class Listener:
    """Hears events, one after the other."""

    def __init__(self, port: int, query: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._connection.request("GET", f"/api/v1/events{query}")
        self.response = self._connection.getresponse()

    def lines(self) -> list[str]:
        """The lines up to the next empty one; none: the end."""
        found = []
        while line := self.response.readline():
            if line == b"\n":
                return found
            found.append(line.decode().rstrip("\n"))
        return found

    def overview(self) -> dict:
        """The next event, which must be an overview."""
        while True:
            lines = self.lines()
            assert lines, "the stream has ended"
            if lines[0] == "event: overview":
                return json.loads(lines[1].removeprefix("data: "))

    def close(self) -> None:
        self._connection.close()


class Served:
    """A registry's application behind a real server."""

    def __init__(self, store: Store, **live) -> None:
        self.asked: list[str | None] = []
        self.away = False
        self.broken = False
        queries = Queries(store.engine, clock=lambda: NOW)

        def overview(stream):
            self.asked.append(stream)
            if self.away:
                raise DatabaseUnavailable("the database does not answer")
            if self.broken:
                raise ZeroDivisionError
            return queries.overview(stream)

        self.live = Live(
            overview, stopping=lambda: self._server.should_exit, **{"poll_seconds": 0.05, **live}
        )
        app = create_app(store.engine, token=None, loopback=True, live=self.live)
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()

    def listen(self, query: str = "") -> closing[Listener]:
        return closing(Listener(self.port, query))

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(5)
        assert not self._thread.is_alive(), "a listener holds up the stop"
        self._socket.close()


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/registry.db", clock=lambda: NOW) as store:
        store.migrate()
        yield store


@pytest.fixture
def serve(store):
    served = []

    def serve(**live) -> Served:
        served.append(Served(store, **live))
        return served[-1]

    yield serve
    for one in served:
        one.stop()


def test_a_listener_hears_what_is_known_and_then_what_changes(serve, store):
    world = World()
    with serve().listen() as listener:
        assert listener.response.headers["Content-Type"].startswith("text/event-stream")
        assert listener.lines() == ["retry: 2000"]
        assert listener.overview()["streams"] == []

        world.uploaded("a.tif")
        world.happen(store)

        assert [file["path"] for file in listener.overview()["in_flight"]] == ["a.tif"]


def test_a_name_with_line_breaks_does_not_end_an_event(serve, store):
    world = World()
    world.uploaded("a\n\nevent: evil\r\ndata: \u2028x")
    world.happen(store)

    with serve().listen() as listener:
        assert listener.overview()["in_flight"][0]["path"] == "a\n\nevent: evil\r\ndata: \u2028x"


def test_nothing_is_said_while_nothing_changes_but_that_we_are_here(serve):
    served = serve(keepalive_seconds=0.2)
    with served.listen() as listener:
        listener.overview()
        asked = len(served.asked)

        assert listener.lines() == [": still here"]
        assert len(served.asked) > asked


def test_a_listener_to_one_stream_hears_nothing_of_others(serve, store):
    with serve().listen("?stream=spectra") as listener:
        assert listener.overview()["streams"] == []
        for topic in ("raw", "spectra"):
            world = World(topic=topic)
            world.uploaded("a.tif")
            world.happen(store)

        assert [stream["topic"] for stream in listener.overview()["streams"]] == ["spectra"]


def test_the_database_is_asked_once_for_all_and_only_while_somebody_listens(serve):
    served = serve()
    with served.listen() as one, served.listen() as other:
        one.overview()
        other.overview()
        assert served.live.listeners == 2
        assert set(served.asked) == {None}

    eventually(lambda: served.live.listeners == 0)
    eventually(lambda: not served.live.polls)


def test_a_database_that_is_away_is_said_once_and_its_return_too(serve):
    served = serve()
    with served.listen() as listener:
        listener.overview()
        served.away = True

        lines = listener.lines()
        assert lines[0] == "event: problem"
        assert json.loads(lines[1].removeprefix("data: "))["status"] == 503

        served.away = False
        listener.overview()


def test_a_stop_lets_listeners_go_at_once(serve):
    served = serve()
    with served.listen() as listener:
        listener.overview()

        served.stop()

        assert listener.lines() == []


def test_more_listeners_than_may_be_are_told_when_to_come_again(serve):
    served = serve(most_listeners=1)
    with served.listen() as first:
        first.overview()
        with served.listen() as second:
            assert second.response.status == 503
            assert second.response.headers["Content-Type"] == "application/problem+json"
            assert second.response.headers["Retry-After"]

    def there_is_room():
        with served.listen() as third:
            return third.response.status == 200

    eventually(there_is_room)


class Counted:
    """An overview that is another one each time."""

    made = 0

    def __init__(self) -> None:
        Counted.made += 1
        self.number = Counted.made

    def model_dump_json(self, **_):
        return str(self.number)


def test_a_slow_listener_is_given_the_newest_state_only():
    async def scenario():
        heard = Live(lambda _stream: Counted(), poll_seconds=0.001).listen(None)
        await anext(heard)
        first = await anext(heard)
        made = Counted.made
        await asyncio.to_thread(eventually, lambda: made + 50 < Counted.made)
        made = Counted.made
        second = await anext(heard)
        await heard.aclose()
        return int(first.split(b"data: ")[1]), int(second.split(b"data: ")[1]), made

    first, second, made = asyncio.run(scenario())

    assert second >= made - 1
    assert second > first + 40


def test_a_bug_is_logged_once_and_heard(serve, caplog):
    app = serve()
    app.broken = True
    with app.listen() as listener:
        assert listener.lines() == ["retry: 2000"]
        lines = listener.lines()
        assert lines[0] == "event: problem"
        assert json.loads(lines[1].removeprefix("data: "))["status"] == 500
        asked = len(app.asked)
        eventually(lambda: len(app.asked) > asked + 3, describe="it asks again and again")
    assert caplog.text.count("cannot tell what is new") == 1

"""PostgreSQL for tests: the fixtures `postgres` (a fresh database) and `own_postgres` (a server to stop)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import create_engine, make_url, text
from tests.kafka import unique
from tests.postgres_server import PostgresServer
from tests.shared_postgres import SharedPostgres, shared_postgres


@pytest.fixture(scope="session")
def postgres_server(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[SharedPostgres]:
    """A PostgreSQL that all tests of the run share, in all of its processes."""
    directory = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        directory = directory.parent  # the run's; each worker has one below it
    with shared_postgres(directory) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: SharedPostgres) -> Iterator[str]:
    """The URL of an empty database of the test's own, on the shared server."""
    name = unique("test")
    engine = create_engine(postgres_server.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    yield make_url(postgres_server.url).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    engine.dispose()


@pytest.fixture
def own_postgres(postgres_server: SharedPostgres) -> Iterator[Callable[[], PostgresServer]]:
    """Start servers that the test may stop, kill and start again: `own_postgres()`."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(PostgresServer(postgres_server.programs))

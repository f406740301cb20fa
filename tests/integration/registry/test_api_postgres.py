"""What the API promises holds on PostgreSQL as on SQLite: the same specifications once more."""

from collections.abc import Iterator

import pytest
from services.registry.tests.test_api import *  # noqa: F403 - all of them
from services.registry.tests.test_queries import *  # noqa: F403
from sqlalchemy import create_engine, make_url, text
from tests.kafka import unique
from tests.shared_postgres import SharedPostgres


@pytest.fixture(scope="module")
def database_url(postgres_server: SharedPostgres) -> Iterator[str]:
    """A database for all of them: they clear it themselves."""
    name = unique("api")
    engine = create_engine(postgres_server.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    yield make_url(postgres_server.url).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    engine.dispose()

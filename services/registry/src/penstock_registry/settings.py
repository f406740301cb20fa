"""What the registry can be told: options, environment (`PENSTOCK_DATABASE`), or a file."""

from __future__ import annotations

import os
import re
import socket
import sys
from typing import TYPE_CHECKING, Self

from blake3 import blake3
from pydantic import Field, SecretStr, field_validator, model_validator

from servicekit.events import EVENTS_TOPIC
from servicekit.http import is_loopback
from servicekit.settings import ByteSize, ServiceSettings, StringList

if TYPE_CHECKING:
    from sqlalchemy import URL

DEFAULT_PORT = 8650
GROUP_PREFIX = "penstock-registry-"
"""All groups of registries begin so, unless they were given one: for rules on who may read what (ACLs)."""

_DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_TOPIC_GLOB = re.compile(r"[a-zA-Z0-9._*?-]{1,249}")
_TOKEN = re.compile(r"[\x21-\x7e]{16,1024}")  # what an HTTP header can carry and nobody guesses


class RegistrySettings(ServiceSettings):
    """Settings of one registry: one Kafka, one database."""

    database: SecretStr | None = Field(
        None,
        description=(
            "Database to keep what is known in: postgresql://USER:PASSWORD@HOST/NAME (version 15 or newer), "
            "which several registries can share, or sqlite:///FILE. By default SQLite, in registry.db in the "
            "state directory."
        ),
    )
    state_dir: str | None = Field(
        None,
        description=(
            "Directory of the registry's own files: the SQLite database and the token that it made. By "
            "default ~/.local/state/penstock/registry."
        ),
    )
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description=(
            "Address to listen at for the page and the API. By default only this machine, without a login; "
            "at any other, such as 0.0.0.0, a token is asked for."
        ),
    )
    port: int = Field(
        DEFAULT_PORT, ge=0, le=65535, description="Port of the page and the API; 0 takes a free one."
    )
    token: SecretStr | None = Field(
        None,
        description=(
            "What programs and people prove with that they may look: at least 16 printable characters "
            "without spaces; where it is given it is asked for, on loopback, too. By default one is made "
            "where it is needed, and kept in STATE_DIR/token."
        ),
    )
    token_file: str | None = Field(
        None,
        description="File that holds the token, instead of PENSTOCK_TOKEN: a mounted secret, for example.",
    )
    streams: StringList = Field(
        default_factory=list,
        description=(
            "Know only of streams whose topic matches this glob, such as 'lab1.*'. By default of all; those "
            "that begin later are found within seconds."
        ),
    )
    events_topic: str | None = Field(
        EVENTS_TOPIC,
        description="Topic with the services' telemetry: progress and heartbeats. Empty: none is read.",
    )
    openmsi_heartbeat_topics: StringList = Field(
        default_factory=list,
        description=(
            "Topic with heartbeats of OpenMSIStream's programs (their --heartbeat_topic_name), to see them "
            "beside Penstock's own."
        ),
    )
    retention_days: float = Field(
        90.0,
        gt=0,
        allow_inf_nan=False,
        description="Forget files and receipts of which nothing was heard for so many days.",
    )
    max_database_size: ByteSize | None = Field(
        None,
        ge=16 * 1024 * 1024,
        description=(
            "Let the database grow to this size at most, by forgetting what is oldest before its time. By "
            "default only time decides."
        ),
    )
    group: str | None = Field(
        None,
        min_length=1,
        max_length=249,
        description=(
            "Consumer group: registries of one group share the reading, so they must share a database. By "
            "default penstock-registry- and a mark of the database: those that share it find each other."
        ),
    )

    @property
    def state_directory(self) -> str:
        """Where the registry's own files are, absolute."""
        return os.path.abspath(self.state_dir or _default_state_directory())

    @property
    def database_url(self) -> str:
        """The database as SQLAlchemy takes it. It may hold a password: nothing to show to anybody."""
        given = self.database.get_secret_value() if self.database is not None else ""
        if not given:
            return f"sqlite:///{os.path.join(self.state_directory, 'registry.db')}"
        return _parsed(given).render_as_string(hide_password=False)

    @property
    def consumer_group(self) -> str:
        """The consumer group. Two registries with a database each would know half in a group of both."""
        return self.group or f"{GROUP_PREFIX}{blake3(self._database_identity.encode()).hexdigest(5)}"

    @property
    def _database_identity(self) -> str:
        """What is the same for all who share the database: no credentials, and a file with its machine."""
        url = _parsed(self.database_url)
        if url.get_backend_name() == "sqlite":
            path = os.path.realpath(url.database or "")
            return f"sqlite://{socket.gethostname()}/{os.fsencode(path).hex()}"
        host, port = (url.query.get(name, given) for name, given in (("host", url.host), ("port", url.port)))
        return f"postgresql://{str(host or '').lower()}:{port or 5432}/{url.database}"

    @property
    def shown_database(self) -> str:
        """The database, for people: without a password."""
        return _parsed(self.database_url).render_as_string(hide_password=True)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the page and the API."""
        return is_loopback(self.host)

    @property
    def retention_seconds(self) -> float:
        """How long what nothing was heard of is remembered."""
        return self.retention_days * 86_400

    @field_validator("database")
    @classmethod
    def _known_database(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None and given.get_secret_value():
            _parsed(given.get_secret_value())
        return given

    @field_validator("token")
    @classmethod
    def _strong_token(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            check_token(given.get_secret_value())
        return given

    @field_validator("streams")
    @classmethod
    def _globs_of_topics(cls, given: list[str]) -> list[str]:
        for glob in given:
            if not _TOPIC_GLOB.fullmatch(glob):
                raise ValueError(f"{glob!r} is no topic's name, in which * and ? may stand for others")
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("PENSTOCK_TOKEN and --token-file say the same: leave one of them out")
        return self


def check_token(token: str) -> None:
    """Raise ValueError, without the token, if it cannot protect anything or cannot be sent."""
    if not _TOKEN.fullmatch(token):
        raise ValueError("must be at least 16 printable ASCII characters, without spaces")


def _parsed(database: str) -> URL:
    """Raise ValueError, without the URL: it may hold a password."""
    from sqlalchemy import make_url  # it takes a while, and `penstock --help` needs the fields only
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(database)
    except (ArgumentError, ValueError):
        raise ValueError(
            "is no URL of a database, such as postgresql://user:password@host/name; "
            "characters like @ and / in a password are written %40 and %2F"
        ) from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise ValueError(f"{url.drivername} is not supported: use postgresql:// or sqlite:///")
    if not url.database or (driver == "sqlite" and url.database == ":memory:"):
        raise ValueError("names no database")
    return url.set(drivername=driver)


def _default_state_directory() -> str:
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    else:
        base = os.environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    return os.path.join(base, "penstock", "registry")

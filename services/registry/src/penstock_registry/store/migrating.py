"""The tables, made and brought up to date by Alembic."""

from __future__ import annotations

import os
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from penstock_registry.exceptions import DatabaseRefused
from penstock_registry.store.database import refuse_old_server, writing

_SCRIPTS: Final = os.path.join(os.path.dirname(__file__), "migrations")
_STATEMENT_SECONDS: Final = 24 * 3600.0
"""A large table takes its time, and nothing can go on before."""


def configuration() -> Config:
    """Return Alembic's configuration: where the migrations are, and nothing else."""
    config = Config()
    config.set_main_option("script_location", _SCRIPTS.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def migrate(engine: Engine) -> None:
    """Bring the tables to the newest revision, in one transaction that excludes all who write.

    Raises DatabaseUnavailable, and DatabaseRefused for a database that we cannot use.
    """
    config = configuration()
    scripts = ScriptDirectory.from_config(config)
    with writing(engine, "making the tables", statement_seconds=_STATEMENT_SECONDS) as connection:
        refuse_old_server(connection)
        present = MigrationContext.configure(connection).get_current_revision()
        if present == scripts.get_current_head():
            return
        if present is not None and present not in {script.revision for script in scripts.walk_revisions()}:
            raise DatabaseRefused(
                f"the database was changed by a newer registry (its tables are of revision {present}): run "
                "that version, or restore a backup from before"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

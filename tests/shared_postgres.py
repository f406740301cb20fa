"""One PostgreSQL for all processes of a test run."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # it is a script, too

from tests import shared_host
from tests.postgres_server import PostgresServer, unpack


@dataclass(frozen=True)
class SharedPostgres:
    """The URL of its first database, and where its programs are."""

    url: str
    programs: Path


@contextmanager
def shared_postgres(directory: Path) -> Iterator[SharedPostgres]:
    """Yield the server that all who name this directory share."""
    with shared_host.shared(directory, "PostgreSQL", __file__) as said:
        yield SharedPostgres(said["url"], Path(said["programs"]))


def _host() -> None:
    programs = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
    programs.chmod(0o755)
    try:
        unpack(programs)
        with PostgresServer(programs) as server:
            shared_host.host({"url": server.url(), "programs": str(programs)})
    except Exception as error:  # noqa: BLE001 - said to whoever wanted it
        sys.exit(str(error))
    finally:
        shutil.rmtree(programs, ignore_errors=True)


if __name__ == "__main__":
    {"host": _host, "start": lambda: shared_host.start(__file__)}[sys.argv[1]]()

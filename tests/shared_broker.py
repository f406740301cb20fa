"""One Kafka broker for all processes of a test run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # it is a script, too

from tests import shared_host

from penstock.broker import Broker, BrokerError


@contextmanager
def shared_broker(directory: Path) -> Iterator[str]:
    """Yield the bootstrap servers of the broker that all who name this directory share."""
    with shared_host.shared(directory, "Kafka", __file__) as said:
        yield said["bootstrap_servers"]


def _host() -> None:
    try:
        with Broker(progress=lambda line: print(line, file=sys.stderr)) as broker:
            shared_host.host({"bootstrap_servers": broker.bootstrap_servers})
    except BrokerError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    {"host": _host, "start": lambda: shared_host.start(__file__)}[sys.argv[1]]()

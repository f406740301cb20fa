"""One Kafka broker for all processes of a test run (pytest-xdist's workers).

The first process that asks starts a host process, which runs the broker for as long as anybody is connected
to it. The operating system closes the connections of processes that end, however they end: so nothing is left
behind, and no process has to outlive the others.
"""

import json
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.broker import Broker, BrokerError
from penstock.broker.cache import exclusive
from penstock.broker.settings import LOOPBACK

_FIRST_CONNECTION_SECONDS = 60


@contextmanager
def shared_broker(directory: Path) -> Iterator[str]:
    """Yield the bootstrap servers of the broker that all who name this directory share."""
    known = directory / "kafka.json"
    with exclusive(directory / "kafka.lock"):
        connection = _connect(known)
        if connection is None:
            answer = subprocess.run(
                [sys.executable, __file__, "start"], capture_output=True, text=True, check=False
            )
            if answer.returncode != 0:
                raise RuntimeError(
                    f"no Kafka for the tests: {answer.stderr.strip() or answer.stdout.strip()}"
                )
            known.write_text(answer.stdout)
            connection = _connect(known)
    if connection is None:
        raise RuntimeError("Kafka for the tests ended at once")
    with connection:
        yield json.loads(known.read_text())["bootstrap_servers"]


def _connect(known: Path) -> socket.socket | None:
    if not known.exists():
        return None
    try:
        connection = socket.create_connection((LOOPBACK, json.loads(known.read_text())["port"]), timeout=10)
    except OSError:
        return None
    try:
        if connection.recv(1):  # it was accepted: from now on the host lives as long as we do
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _host() -> None:
    """Run the broker until nobody is connected any more."""
    try:
        broker = Broker(progress=lambda line: print(line, file=sys.stderr))
        with socket.create_server((LOOPBACK, 0)) as server, broker, selectors.DefaultSelector() as selector:
            print(
                json.dumps({"port": server.getsockname()[1], "bootstrap_servers": broker.bootstrap_servers})
            )
            sys.stdout.close()
            selector.register(server, selectors.EVENT_READ)
            users = 0
            while events := selector.select(None if users else _FIRST_CONNECTION_SECONDS):
                for key, _ in events:
                    ready = key.fileobj
                    if ready is server:
                        user, _ = server.accept()
                        user.sendall(b"+")
                        selector.register(user, selectors.EVENT_READ)
                        users += 1
                    else:
                        selector.unregister(ready)
                        ready.close()
                        users -= 1
                if not users:
                    break
            server.close()
    except BrokerError as error:
        sys.exit(str(error))


def _start() -> None:
    """Start a host that is nobody's child, and pass on what it says first."""
    host = subprocess.Popen(
        [sys.executable, __file__, "host"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    line = host.stdout.readline()
    if not line:
        sys.exit(host.communicate()[1])
    print(line, end="")


if __name__ == "__main__":
    {"host": _host, "start": _start}[sys.argv[1]]()

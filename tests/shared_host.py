"""A server for all processes of a test run (pytest-xdist's workers), in a process of its own.

The first process that asks starts the host, which runs the server for as long as anybody is connected to it.
The operating system closes the connections of processes that end, however they end: so nothing is left
behind, and no process has to outlive the others.
"""

import json
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock.broker.cache import exclusive
from penstock.broker.settings import LOOPBACK

_FIRST_CONNECTION_SECONDS = 60


@contextmanager
def shared(directory: Path, name: str, script: str) -> Iterator[dict[str, Any]]:
    """Yield what the host of the server `name` says of it; all who name this directory share it.

    `script` hosts the server (see `host`), and is told `start` or `host`.
    """
    known = directory / f"{name}.json"
    with exclusive(directory / f"{name}.lock"):
        connection = _connect(known)
        if connection is None:
            answer = subprocess.run(
                [sys.executable, script, "start"], capture_output=True, text=True, check=False
            )
            if answer.returncode != 0:
                raise RuntimeError(
                    f"no {name} for the tests: {answer.stderr.strip() or answer.stdout.strip()}"
                )
            known.touch(mode=0o600)
            known.write_text(answer.stdout)
            connection = _connect(known)
    if connection is None:
        raise RuntimeError(f"{name} for the tests ended at once")
    with connection:
        yield json.loads(known.read_text())


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


def host(says: Mapping[str, Any]) -> None:
    """Say what there is to know of the server that runs, and return when nobody is connected any more."""
    with socket.create_server((LOOPBACK, 0)) as server, selectors.DefaultSelector() as selector:
        print(json.dumps({"port": server.getsockname()[1], **says}))
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


def start(script: str) -> None:
    """Start a host that is nobody's child, and pass on what it says first."""
    process = subprocess.Popen(
        [sys.executable, script, "host"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    line = process.stdout.readline()
    if not line:
        sys.exit(process.communicate()[1])
    print(line, end="")

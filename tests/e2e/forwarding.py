"""`kubectl port-forward`: a port of this machine that leads to one in the cluster."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import Kubectl


@contextmanager
def forwarded(kubectl: Kubectl, target: str, port: int | str) -> Iterator[str]:
    """Forward to a port of `service/NAME`, `deployment/NAME` or `pod/NAME`; its URL on this machine."""
    process = kubectl.start("port-forward", target, f":{port}", "--address=127.0.0.1")
    assert process.stdout is not None
    said = process.stdout.readline()
    # It says a line for each connection, and stops when nobody reads them.
    reader = threading.Thread(target=process.stdout.read)
    reader.start()
    try:
        found = re.match(r"Forwarding from (127\.0\.0\.1:\d+) ->", said)
        assert found, f"kubectl port-forward {target} said: {said!r}"
        yield f"http://{found[1]}"
    finally:
        process.terminate()
        process.wait()
        reader.join()
        process.stdout.close()

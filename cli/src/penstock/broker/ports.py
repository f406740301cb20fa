"""Free ports on the loopback interface, for servers that clients find again after a restart."""

import itertools
import random
import socket
import sys

from penstock.broker.settings import LOOPBACK

# Below what Linux (32768), macOS and Windows (49152) give to outgoing connections. While a broker is down,
# its clients keep connecting to its port: from that range, one of them would in time be given the very port
# as its own, be connected to itself, and keep the broker from coming back.
_CHOICE = range(20000, 32000)
_RANDOM = random.SystemRandom()
"""Not the module's own generator: tests seed it, and two of them would choose the same ports."""


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        if sys.platform == "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:  # as Java does: connections that linger from the last run don't count
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; unlikely to be chosen by anyone else until they are used."""
    candidates = (port for port in _RANDOM.sample(_CHOICE, len(_CHOICE)) if is_free(port))
    return list(itertools.islice(candidates, count))

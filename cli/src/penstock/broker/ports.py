"""Free ports, by default on the loopback interface, for servers that clients find again after a restart."""

import errno
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


class AddressError(Exception):
    """A server cannot listen at this host, whatever the port. The message says why, and what to do."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen on this port now.

    Raises `AddressError` when no interface of this machine has the address.
    """
    way_out = "name one of this machine's addresses, or 0.0.0.0 for all of them"
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise AddressError(f"cannot listen at {host!r}, which is no address: {way_out}") from error
    with socket.socket(family) as probe:
        if sys.platform == "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:  # as Java does: connections that linger from the last run don't count
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise AddressError(
                    f"cannot listen at {host!r}, which no interface of this machine has: {way_out}"
                ) from error
            return False
    return True


def free_ports(count: int, host: str = LOOPBACK) -> list[int]:
    """Return ports that nobody listens on; unlikely to be chosen by anyone else until they are used."""
    candidates = (port for port in _RANDOM.sample(_CHOICE, len(_CHOICE)) if is_free(port, host))
    return list(itertools.islice(candidates, count))

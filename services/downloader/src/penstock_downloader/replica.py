"""Which replica of a destination this process is: a name that is the same after a restart."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import Final

from blake3 import blake3

_MAX_REPLICAS: Final = 64
"""On one host; further ones get names that a restart changes."""


class Replica:
    """A name such as `<destination>/<host name>`, while this is open; no other process here has it then.

    A second replica on the same host gets `<destination>/<host name>-2`, and so on: whichever number is free.
    Who has which is known to the kernel (by names of sockets without a file), so a process that was killed
    leaves nothing behind. Where there are no such names, the process id makes the difference.
    """

    def __init__(self, destination: str) -> None:
        self._socket: socket.socket | None = None
        host = socket.gethostname()
        name = f"{destination}/{host}"
        number = self._take_number(blake3(name.encode("utf-8", "surrogateescape")).hexdigest(length=16))
        if number is None:
            self.program_id = f"{name}-{os.getpid()}"
        else:
            self.program_id = name if number == 1 else f"{name}-{number}"

    def close(self) -> None:
        """Let another process have the name."""
        taken, self._socket = self._socket, None
        if taken is not None:
            taken.close()

    def _take_number(self, name: str) -> int | None:
        if sys.platform != "linux":
            return None
        for number in range(1, _MAX_REPLICAS + 1):
            with contextlib.suppress(OSError):
                seat = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                try:
                    seat.bind(f"\0penstock-downloader/{name}/{number}")
                except BaseException:
                    seat.close()
                    raise
                self._socket = seat
                return number
        return None

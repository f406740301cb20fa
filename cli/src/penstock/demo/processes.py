"""Our own commands as processes of their own, which never outlive the demo.

Each runs under the guard that brokers have (`penstock.broker.guard`): when this process is gone, however it
ended, the guard stops the command and removes the demo's temporary directory.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from penstock.broker import guard as guard_program
from penstock.display import shown

STOP_SECONDS = 30.0
"""How long an orderly stop may take: a drain (20 s) and some."""


class OwnCommand:
    """`penstock ARGUMENTS...` in the background; what it writes goes to a file."""

    def __init__(self, arguments: list[str], *, log: Path, remove_if_orphaned: Path | None) -> None:
        self.name = f"penstock {arguments[0]}"
        self.log = log
        guard = [sys.executable, "-I", str(Path(guard_program.__file__)), "--parent", str(os.getpid())]
        if remove_if_orphaned is not None:
            guard += ["--remove-if-orphaned", str(remove_if_orphaned)]
        # Settings of the person who runs the demo are about another Kafka.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PENSTOCK_") or name == "PENSTOCK_CACHE_DIR"
        }
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [*guard, "--", sys.executable, "-m", "penstock", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=environment,
                start_new_session=True,  # Ctrl-C is for us; we stop it in good order
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._guard.poll() is None

    def last_words(self) -> str:
        """Return the last line that it wrote, which says why it ended."""
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            lines = deque((line for line in log if line.strip()), maxlen=1)
            if lines:
                return shown(lines[0].decode("utf-8", "replace").strip())
        return "it said nothing"

    def order_stop(self) -> None:
        """Let it begin to stop."""
        self._order("stop")

    def stop(self) -> int | None:
        """Stop it in good order, or by force if that takes too long; return its exit code, if it is known."""
        for order in ("stop", "kill"):
            self._order(order)
            try:
                self._guard.wait(STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            self._guard.kill()
            self._guard.wait()
        assert self._guard.stdout is not None
        assert self._guard.stdin is not None
        said = self._guard.stdout.read().split()
        self._guard.stdout.close()
        with contextlib.suppress(OSError):
            self._guard.stdin.close()
        return int(said[-1]) if len(said) >= 2 and said[-2] == b"exit" else None

    def _order(self, order: str) -> None:
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended
            self._guard.stdin.write(order.encode() + b"\n")
            self._guard.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

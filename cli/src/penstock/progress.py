"""What is under way: a few bars that stay in place on a terminal, now and then a line elsewhere.

A `Board` is told of files from any thread and shows them while it is open (`with board:`). It writes to
stderr: stdout belongs to results. At a terminal at most ROWS files have a bar, the largest ones in the order
in which they began, and one line counts the rest. In a pipe, a line is written every few seconds, and only if
something has changed.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from typing_extensions import override

from penstock import display

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

ROWS = 6
"""Files that have a bar of their own. More are a wall, fewer hide that files share the way."""

NAMED_AT_ONCE = 3
"""Of more files than these that are done between two looks, only the number is told."""

LINE_SECONDS = 2.0
"""Between two lines in a pipe."""

SPEED_WINDOW_SECONDS = 3.0

STALE_SECONDS = 300.0
"""A file of which nothing was heard for so long is not shown: it is gone, or someone else's by now."""

REMEMBERED = 1000
"""Of failed files, and of files on their way, at most so many are remembered: a service runs for years."""


@dataclass(eq=False)
class Transfer:
    """A file on its way."""

    name: str
    size: int
    done: int = 0
    note: str = ""
    """What it waits for, in a word, once all its bytes have left."""
    heard: float = 0.0
    """When something was heard of it, on the monotonic clock."""


@dataclass
class Totals:
    """What has happened so far."""

    files: int = 0
    bytes: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Reason by name."""


class Board:
    """Files on their way, and what has become of the others."""

    def __init__(self, verb: str, *, under_way: str = "on the way") -> None:
        """`verb` says what is done to files ("sent"), `under_way` where those are that it is done to now."""
        self.verb = verb
        self.under_way = under_way
        self.totals = Totals()
        self._expected = (0, 0)  # files and bytes; nothing: nobody knows how much will come
        self._lock = threading.Lock()
        self._active: dict[str, Transfer] = {}
        self._finished: deque[tuple[str, int, str]] = deque()
        self._finished_more = (0, 0)  # files and bytes that are too many to be named
        self._moved: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._status = ""

    # What it is told

    def expect(self, files: int, size: int) -> None:
        """Say how much there will be, all in all."""
        with self._lock:
            self._expected = (files, size)

    def status(self, text: str) -> None:
        """Say in a line what is waited for; empty when it is over."""
        with self._lock:
            self._status = text

    def progress(self, name: str, done: int, size: int, note: str = "") -> None:
        """Say how many bytes of a file are done."""
        with self._lock:
            transfer = self._active.get(name)
            if transfer is None:
                if len(self._active) >= REMEMBERED:
                    del self._active[next(iter(self._active))]
                transfer = self._active[name] = Transfer(name, size)
            transfer.done, transfer.size, transfer.note = done, size, note
            transfer.heard = time.monotonic()

    def finished(self, name: str, size: int, note: str = "") -> None:
        """Say that all is done with a file."""
        with self._lock:
            self._active.pop(name, None)
            self.totals.failed.pop(name, None)
            self.totals.files += 1
            self.totals.bytes += size
            if len(self._finished) <= NAMED_AT_ONCE:
                self._finished.append((name, size, note))
            else:
                files, total = self._finished_more
                self._finished_more = (files + 1, total + size)

    def failed(self, name: str, reason: str) -> None:
        """Say that a file will not arrive (unless it is sent again)."""
        self.refused(name, reason)
        self._report_failure(name, reason)

    def refused(self, name: str, reason: str) -> None:
        """Say that a file will not arrive; its service's own log says why."""
        with self._lock:
            self._active.pop(name, None)
            if len(self.totals.failed) < REMEMBERED:
                self.totals.failed[name] = reason

    def dropped(self, name: str) -> None:
        """Say that a file is no longer on its way: it has changed, or is gone."""
        with self._lock:
            self._active.pop(name, None)

    # What it shows

    def _report_failure(self, name: str, reason: str) -> None:
        """Show a failure at once."""

    def _take_finished(self) -> list[str]:
        """Return lines about what was done since the last call."""
        with self._lock:
            named, (more, more_bytes) = list(self._finished), self._finished_more
            self._finished.clear()
            self._finished_more = (0, 0)
        if len(named) + more > NAMED_AT_ONCE:
            total = sum(size for _, size, _ in named) + more_bytes
            return [f"{display.count(len(named) + more, 'file')} {self.verb} ({display.size(total)})"]
        return [
            f"{self.verb} {display.shown(name)} ({display.size(size)}{', ' + note if note else ''})"
            for name, size, note in named
        ]

    def _bytes_so_far(self) -> int:
        return self.totals.bytes + sum(transfer.done for transfer in self._active.values())

    def _speed(self) -> float:
        """Bytes a second, lately. Called with the lock held."""
        now = time.monotonic()
        for name in [t.name for t in self._active.values() if now - t.heard > STALE_SECONDS]:
            del self._active[name]
        moved = self._bytes_so_far()
        self._moved.append((now, moved))
        while len(self._moved) > 2 and now - self._moved[0][0] > SPEED_WINDOW_SECONDS:
            self._moved.popleft()
        (then, before) = self._moved[0]
        # Over less than a second it would be noise.
        return max(0.0, (moved - before) / (now - then)) if now - then >= 1.0 else 0.0

    def _summary(self, speed: float) -> str:
        files, size = self._expected
        done = self._bytes_so_far()
        if files:
            text = f"{self.totals.files} of {display.count(files, 'file')} {self.verb}"
            text += f", {display.size(done)} of {display.size(size)}"
        else:
            text = (
                f"{display.count(self.totals.files, 'file')} {self.verb}, {display.size(self.totals.bytes)}"
            )
        if self._active:
            text += f", {len(self._active)} {self.under_way}"
        if speed >= 50_000:
            text += f", {display.rate(speed)}"
        if self.totals.failed:
            text += f", {len(self.totals.failed)} failed"
        return text

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show nothing more."""


class Lines(Board):
    """A board for pipes and files."""

    def __init__(
        self, verb: str, *, say: Callable[[str], None] | None = None, under_way: str = "on the way"
    ) -> None:
        """`say` takes the lines, and is told which files are done: for a service, its log. None: stderr."""
        super().__init__(verb, under_way=under_way)
        self._say = say or _to_stderr
        self._names_files = say is not None
        self._last = ""
        self._stop = threading.Event()

    @override
    def __enter__(self) -> Board:
        self._thread = threading.Thread(target=self._work, name="progress", daemon=True)
        self._thread.start()
        return self

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._write()

    @override
    def _report_failure(self, name: str, reason: str) -> None:
        self._say(f"failed: {display.shown(name)}: {display.shown(reason)}")

    def _work(self) -> None:
        while not self._stop.wait(LINE_SECONDS):
            self._write()

    def _write(self) -> None:
        if self._names_files:
            for line in self._take_finished():
                self._say(line)
            return
        with self._lock:
            if not (self.totals.files or self._active or self._status):
                return
            line = self._status or self._summary(self._speed())
        if line != self._last:
            self._last = line
            self._say(line)


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class Bars(Board):
    """A board for a terminal. While it is open, log records appear above the bars."""

    def __init__(
        self,
        verb: str,
        console: Console,
        *,
        scroll: bool,
        hide_logs: Sequence[str] = (),
        under_way: str = "on the way",
    ) -> None:
        """`scroll`: say of each file that is done; else only bars and counts are seen.

        `hide_logs`: messages (before anything is filled in) that would say again what is seen here.
        """
        super().__init__(verb, under_way=under_way)
        from rich.live import Live
        from rich.spinner import Spinner

        self._console = console
        self._scroll = scroll
        self._spinner = Spinner("dots" if utf8(console) else "line", style="cyan")
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=8, transient=True)
        self._logs = _AboveTheBars(console, hide_logs)

    @override
    def __enter__(self) -> Board:
        self._logs.install()
        self._live.start()
        # A second Ctrl-C ends a service at once, and nobody would give the cursor back.
        self._console.show_cursor(True)
        return self

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        self._logs.remove()
        self._print_finished()
        if self._scroll and self.totals.files:
            from rich.text import Text

            self._console.print(Text(self._summary(0.0), style="bold"))

    @override
    def _report_failure(self, name: str, reason: str) -> None:
        from rich.text import Text

        mark = Text("✗ " if utf8(self._console) else "x ", style="red")
        self._console.print(mark + Text(f"{display.shown(name)}: {display.shown(reason)}"), soft_wrap=True)

    def _print_finished(self) -> None:
        from rich.text import Text

        lines = self._take_finished()
        if not self._scroll:
            return
        mark = Text("✓ " if utf8(self._console) else "", style="green")
        for line in lines:
            self._console.print(mark + Text(line), soft_wrap=True)

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        self._print_finished()
        columns = self._console.width
        ellipsis = "…" if utf8(self._console) else "..."
        with self._lock:
            speed = self._speed()
            transfers = list(self._active.values())
            largest = sorted(transfers, key=lambda transfer: transfer.size, reverse=True)[:ROWS]
            rows = [
                (display.shortened(t.name, max(16, columns - 50)), t.done, t.size, t.note)
                for t in transfers
                if t in largest
            ]
            more = len(transfers) - len(rows)
            summary, status = self._summary(speed), self._status
            (_, expected), done = self._expected, self._bytes_so_far()

        parts: list[RenderableType] = []
        if rows:
            table = Table.grid(padding=(0, 1), expand=False)
            table.add_column(width=max(16, columns - 50), no_wrap=True)
            table.add_column(width=20)
            table.add_column(justify="right", width=10, no_wrap=True)
            table.add_column(width=14, no_wrap=True)
            for name, moved, size, note in rows:
                share = (
                    Text(note, style="dim") if note else Text(f"{moved * 100 // size if size else 100:>3} %")
                )
                table.add_row(
                    Text(name),
                    ProgressBar(total=max(1, size), completed=moved if size else 1, width=20),
                    Text(display.size(size), style="dim"),
                    share,
                )
            parts.append(table)
        if more > 0:
            parts.append(Text(f"{ellipsis} and {more} more", style="dim"))
        line = Table.grid(padding=(0, 1))
        line.add_column(width=1)
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_row(self._spinner, Text(status or summary, style="yellow" if status else "bold"))
        parts.append(line)
        if expected and not status:
            parts.append(
                ProgressBar(total=expected, completed=min(done, expected), width=min(60, columns - 2))
            )
        return Group(*parts)


class _AboveTheBars(logging.Handler):
    """Takes the place of the service's own log handler while there are bars."""

    def __init__(self, console: Console, hidden: Sequence[str]) -> None:
        super().__init__()
        self._console = console
        self._hidden = frozenset(hidden)
        self._others: list[logging.Handler] = []

    def install(self) -> None:
        """Let records come here, formatted as they would have been."""
        root = logging.getLogger()
        self._others = [
            h for h in root.handlers if isinstance(h, logging.StreamHandler) and h.stream is sys.stderr
        ]
        if self._others:
            self.setFormatter(self._others[0].formatter)
        for other in self._others:
            root.removeHandler(other)
        root.addHandler(self)

    def remove(self) -> None:
        """Let records go where they went before."""
        root = logging.getLogger()
        root.removeHandler(self)
        for other in self._others:
            root.addHandler(other)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        from rich.text import Text

        if record.msg in self._hidden:
            return
        style = "dim"
        if record.levelno >= logging.WARNING:
            style = "red" if record.levelno >= logging.ERROR else "yellow"
        try:
            moment, _, text = self.format(record).partition(" ")
            # The date and the fractions of a second are for files; here somebody is looking.
            self._console.print(Text(f"{moment[11:19]} {text}", style=style), soft_wrap=True)
        except Exception:  # noqa: BLE001 - a record that cannot be shown must not end the service
            self.handleError(record)


def is_terminal(stream: TextIO) -> bool:
    """Whether someone watches this stream, on a terminal that can do more than write lines."""
    import os

    return stream.isatty() and os.environ.get("TERM") != "dumb"


def error_console() -> Console:
    """Return a console at stderr that takes nothing for markup, emoji codes or things to colour."""
    from rich.console import Console

    return Console(stderr=True, markup=False, emoji=False, highlight=False)


def utf8(console: Console) -> bool:
    """Whether the terminal has characters beyond ASCII."""
    return console.encoding.lower().startswith("utf")


def board(
    verb: str,
    *,
    scroll: bool = False,
    hide_logs: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
    plain: bool = False,
    under_way: str = "on the way",
) -> Board:
    """Return bars at a terminal, lines elsewhere or if `plain`. What the others are: see `Bars`, `Lines`."""
    if is_terminal(sys.stderr) and not plain:
        return Bars(verb, error_console(), scroll=scroll, hide_logs=hide_logs, under_way=under_way)
    return Lines(verb, say=say, under_way=under_way)

"""Writing the demo's files, as instruments do: one after the other, and one that grows."""

from __future__ import annotations

import threading
from pathlib import Path

from penstock import progress
from penstock.demo import samples
from penstock.demo.errors import DemoFailed


class Writer(threading.Thread):
    """Writes the samples while they are watched, and lets one file grow."""

    def __init__(self, directory: Path, board: progress.Board) -> None:
        super().__init__(name="writer", daemon=True)
        self._directory = directory
        self._board = board
        self._stopping = threading.Event()
        self.written: list[str] = []
        self.done = False
        self.failure: DemoFailed | None = None

    def run(self) -> None:
        """Write everything."""
        todo = samples.samples()
        self._board.expect(len(todo) + 1, sum(sample.size for sample in todo))
        try:
            growing = samples.grow(self._directory)
            steps = max(1, len(todo) // samples.APPENDED_LINES)
            for number, sample in enumerate(todo):
                if self._stopping.is_set():
                    return
                samples.write(self._directory, sample)
                self.written.append(sample.path)
                if number % steps == 0:
                    next(growing, None)
            for _ in growing:  # the rest, in its own time: a logger is slow
                if self._stopping.wait(0.05):
                    return
            self.written.append(samples.APPENDED)
            self.done = True
        except OSError as error:
            self.failure = DemoFailed(f"cannot write the demo's files: {error.strerror} ({error.filename!r})")

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self.is_alive():
            self.join()

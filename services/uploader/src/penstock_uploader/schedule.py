"""Whose turn it is to be read. Pure: fair, small files first, whatever their number or size.

Files are put into classes by size, each at least eight times that of the one before. The classes take
turns, the smallest first, each for the same number of bytes; within a class, files of one chunk go one
after the other, larger ones a chunk each in turn, a few at a time. So a file of 1 KB waits for one turn of
the others at the most, and a file of 100 GB still moves on while small ones never end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_CLASSES: Final = 9
_MIN_COST: Final = 4096
"""Bytes that a file counts for at least: opening and closing it costs as much as reading a page."""


@dataclass(slots=True)
class _Class:
    waiting: deque[str] = field(default_factory=deque)
    active: deque[str] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class Step:
    """Read the next chunk of this file, of `size` bytes; `first` when it is not open yet."""

    path: str
    size: int
    first: bool


class Schedule:
    """The files that are ready. A path is in it once; the caller takes steps until it says `done`.

    `chunk_size` is in bytes, `turn_bytes` what a class may read before the next one has its turn, `active`
    how many files of a class are open at the same time.
    """

    def __init__(self, chunk_size: int, *, turn_bytes: int = 1024 * 1024, active: int = 4) -> None:
        self._chunk_size = chunk_size
        self._turn_bytes = max(turn_bytes, chunk_size)
        self._max_active = active
        self._classes = [_Class() for _ in range(_CLASSES)]
        self._files: dict[str, tuple[int, int]] = {}  # path -> size, class
        self._turn = 0
        self._spent = 0

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def add(self, path: str, size: int) -> None:
        """Let a file that is ready have its turn."""
        if path in self._files:
            return
        number = self._class_of(size)
        self._files[path] = (size, number)
        self._classes[number].waiting.append(path)

    def takes_turns(self, size: int) -> bool:
        """Whether a file of this size is read in more than one step."""
        return size > self._chunk_size

    def done(self, path: str) -> None:
        """Take a file out: it was read to its end, or given up."""
        found = self._files.pop(path, None)
        if found is None:
            return
        for queue in (self._classes[found[1]].active, self._classes[found[1]].waiting):
            if path in queue and queue:
                if queue[0] == path:
                    queue.popleft()
                elif queue[-1] == path:
                    queue.pop()
                else:
                    queue.remove(path)
                return

    def take(self, max_bytes: int, max_steps: int = 256) -> list[Step]:
        """Give the next steps, in order, `max_bytes` together at the most (one step at the least, if any).

        A file of one chunk is done with its step; a larger one gives steps until `done`.
        """
        steps: list[Step] = []
        budget = max_bytes
        idle = 0
        while idle < _CLASSES and len(steps) < max_steps:
            step = self._next(self._classes[self._turn])
            if step is None:
                idle += 1
                self._advance()
                continue
            if step.size > budget and steps:
                self._put_back(step)
                break
            idle = 0
            steps.append(step)
            budget -= step.size
            if self._is_single(step):
                del self._files[step.path]
            self._spent += max(step.size, _MIN_COST)
            if self._spent >= self._turn_bytes:
                self._advance()
            if budget <= 0:
                break
        return steps

    def _next(self, turn: _Class) -> Step | None:
        if turn.waiting:
            size = self._files[turn.waiting[0]][0]
            if size <= self._chunk_size:
                return Step(turn.waiting.popleft(), size, True)
            if len(turn.active) < self._max_active:
                path = turn.waiting.popleft()
                turn.active.append(path)
                return Step(path, self._chunk_size, True)
        if turn.active:
            turn.active.rotate(-1)
            return Step(turn.active[-1], self._chunk_size, False)
        return None

    def _put_back(self, step: Step) -> None:
        turn = self._classes[self._files[step.path][1]]
        if step.first:
            if turn.active and turn.active[-1] == step.path:
                turn.active.pop()
            turn.waiting.appendleft(step.path)
        else:
            turn.active.rotate(1)

    def _advance(self) -> None:
        self._turn = (self._turn + 1) % _CLASSES
        self._spent = 0

    def _is_single(self, step: Step) -> bool:
        return self._files[step.path][0] <= self._chunk_size

    def _class_of(self, size: int) -> int:
        number, limit = 0, 8 * 1024
        while size > limit and number < _CLASSES - 1:
            limit *= 8
            number += 1
        return number


class RateLimit:
    """A token bucket: `bytes_per_second` in the long run; a quarter of a second's, or `burst`, at once."""

    def __init__(self, bytes_per_second: int | None, burst: int, now: float) -> None:
        self._rate = bytes_per_second
        self._capacity = max(burst, (bytes_per_second or 0) // 4)
        self._tokens = float(self._capacity)
        self._at = now

    def allowance(self, now: float) -> int | None:
        """How many bytes may go now; None: as many as one likes. At most 0: none, wait."""
        if self._rate is None:
            return None
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return int(self._tokens)

    def spend(self, size: int) -> None:
        """Note that `size` bytes went; the next ones may have to wait for them."""
        if self._rate is not None:
            self._tokens -= size

    def wait_seconds(self) -> float:
        """How long until something may go again."""
        return 0.0 if self._rate is None or self._tokens >= 1 else (1 - self._tokens) / self._rate

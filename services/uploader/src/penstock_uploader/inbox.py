"""What other threads want done in the service's thread: the one that may touch everything."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from servicekit.exceptions import StateError

T = TypeVar("T")

_PATIENCE_SECONDS = 60.0


class Inbox:
    """Work for the service's thread; `wake` is called when some has come."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def tell(self, what: Callable[[], None]) -> None:
        """Have `what` done. From any thread."""
        self._work.put(what)
        self._wake()

    def ask(self, question: Callable[[], T]) -> T:
        """Have `question` answered, and wait for it. From any other thread; raises StateError if it is late.

        What the question raises is raised here.
        """
        future: Future[T] = Future()

        def answer() -> None:
            try:
                future.set_result(question())
            except BaseException as error:  # noqa: BLE001 - it is raised where the question was asked
                future.set_exception(error)

        self.tell(answer)
        try:
            return future.result(_PATIENCE_SECONDS)
        except TimeoutError:
            raise StateError("the uploader is too busy to answer, or has stopped") from None

    def work(self) -> bool:
        """Do what has come; whether there was anything. In the service's thread."""
        worked = False
        while not self._work.empty():
            self._work.get()()
            worked = True
        return worked

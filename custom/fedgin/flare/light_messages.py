"""Let FLARE keep little of each message that it sends or has received.

What it sends: it makes a buffer of 1 MB for each message, also for an answer of a hundred bytes. And each message
refers to itself: its task holds the future that holds the task. So the buffer stays until Python looks for such
circles, which it does after a number of new objects, however large they are.

What it received: of each answer it keeps a note for as long as the sender may repeat it, with our kits for ten minutes
and a half (``streaming_retry_timeout``), and for each note a thread that waits to drop it. A site that waits asks the
server ten times a second: it had 800 threads after a minute and a half.
"""

import heapq
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from nvflare.fuel.f3.streaming import byte_streamer
from nvflare.fuel.f3.streaming.byte_receiver import RxTask
from nvflare.fuel.f3.streaming.byte_streamer import TxTask

LOG = logging.getLogger(__name__)


class Later:
    """Does things at their times, in one thread, which goes on when one of them fails."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0
        self._thread: threading.Thread | None = None

    def do(self, seconds: float, what: Callable[[], object]) -> None:
        """Do something in so many seconds."""
        with self._changed:
            self._number += 1  # what is due at the same time cannot be compared
            heapq.heappush(self._waiting, (time.monotonic() + seconds, self._number, what))
            self._changed.notify()
            if self._thread is None or not self._thread.is_alive():  # there may have been no room for one before
                self._thread = threading.Thread(target=self._run, name="later", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self._next()()
            except Exception:  # of one message; the others wait for this thread, too
                LOG.exception("what was to be done now failed")

    def _next(self) -> Callable[[], object]:
        """Wait for what is due next, and return it."""
        with self._changed:
            while True:
                left = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait(left)


later = Later()


def lighten_messages() -> None:
    """Keep little from now on, in this process; FLARE has no setting for it."""
    byte_streamer.TxTask = _Sent
    RxTask._schedule_remove_task = _drop_later


class _Sent(TxTask):
    """A message that is sent: it has a buffer no larger than itself, and nobody holds it once it was sent."""

    def __init__(
        self, cell: Any, chunk_size: int, channel: str, topic: str, target: str, headers: Any, stream: Any, *more: Any
    ) -> None:
        size = stream.get_size()
        own = min(size, chunk_size) if size > 0 else chunk_size  # FLARE may not know the size of a stream
        super().__init__(cell, own, channel, topic, target, headers, stream, *more)
        self.chunk_size = chunk_size

    def remove_task(self) -> None:
        """Leave FLARE's list of messages; the future, which stays with who waits for it, needs its task no more."""
        super().remove_task()
        self.stream_future.task_handle = None


class _Due:
    """Stands for the timer of a message that was received, which FLARE may cancel."""

    def __init__(self, drop: Callable[[], object]) -> None:
        self._drop: Callable[[], object] | None = drop

    def __call__(self) -> None:
        if drop := self._drop:
            drop()

    def cancel(self) -> None:
        """Hold nothing any longer."""
        self._drop = None


def _drop_later(task: RxTask, ttl: float | None = None) -> None:
    """Stand for ``RxTask._schedule_remove_task``."""
    with task.stop_lock:
        if not task.cleanup_timer:
            task.cleanup_timer = _Due(task._remove_task)
            later.do(task.completed_task_ttl if ttl is None else ttl, task.cleanup_timer)

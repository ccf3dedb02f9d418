"""Let a process of the server keep little memory for messages, and give back to the system what it frees.

FLARE makes a buffer of 1 MB for each message that it sends, also for an answer of a hundred bytes. Each site asks ten
times a second whether there is something to do. And each message refers to itself: its task holds the future that holds
the task. So the buffer stays until Python looks for such circles, which it does after a number of new objects, however
large they are. What is freed at last glibc keeps: it learns from every large array that is freed to keep larger ones.
"""

import ctypes
from typing import Any

from nvflare.apis.fl_component import FLComponent
from nvflare.fuel.f3.streaming import byte_streamer
from nvflare.fuel.f3.streaming.byte_streamer import TxTask

# Of glibc's mallopt: how much may be free at the end of the heap, and from where on an array gets memory of its own.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Bytes. glibc's own value, which stays as it is once it is set.
THRESHOLD = 2**17


class FreedMemory(FLComponent):
    """Part of the server kit's ``resources.json``: FLARE makes one in each of the server's processes.

    In the simulator, which reads no kit, :class:`~fedgin.flare.server.aggregator.ClientWeightedAggregator` does the
    same.
    """

    def __init__(self) -> None:
        super().__init__()
        keep_little_memory()


def keep_little_memory() -> None:
    """Let this process keep little from now on; FLARE has no setting for it.

    Where the C library is not glibc, this is about messages alone.
    """
    byte_streamer.TxTask = _Sent
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, THRESHOLD)


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

"""Give memory back to the system that the server's process of a job no longer uses.

Each message that FLARE sends or receives refers to itself: its task holds the future that holds the task. So a piece of
an array that was sent stays, with a buffer of 1 MB, until Python looks for such circles, which it does after a number
of new objects, however large they are. What is freed at last glibc keeps: it learns from every large array that is
freed to keep larger ones.
"""

import ctypes
import gc
import threading

# Of glibc's mallopt: how much may be free at the end of the heap, and from where on an array gets memory of its own.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Bytes. glibc's own value, which stays as it is once it is set.
THRESHOLD = 2**17
# Bytes of messages after which the circles are looked for.
SENT = 2**23


class FreedMemory:
    """Lets this process keep little of what it frees, from :meth:`start` to :meth:`stop`.

    Where the C library is not glibc, only messages are freed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent = 0

    def start(self) -> None:
        """Leave out what is there now when circles are looked for: a process with PyTorch has much, and keeps it."""
        if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
            mallopt(M_MMAP_THRESHOLD, THRESHOLD)
            mallopt(M_TRIM_THRESHOLD, THRESHOLD)
        gc.collect()
        gc.freeze()

    def stop(self) -> None:
        """Look at everything again."""
        gc.unfreeze()

    def count(self, sent: int) -> None:
        """Count the bytes of a message, and free those that were answered whenever there are many."""
        with self._lock:
            self._sent += sent
            if many := self._sent >= SENT:
                self._sent = 0
        if many:
            self.free()

    def free(self) -> None:
        """Free the messages that were answered."""
        gc.collect()

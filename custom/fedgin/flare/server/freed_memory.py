"""Let a process of the server give back to the system what it frees, and keep little for messages.

What is freed glibc keeps: it learns from every large array that is freed to keep larger ones.
"""

import ctypes

from nvflare.apis.fl_component import FLComponent

from fedgin.flare.light_messages import lighten_messages

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
    """Let this process keep little from now on.

    Where the C library is not glibc, this is about messages alone.
    """
    lighten_messages()
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, THRESHOLD)

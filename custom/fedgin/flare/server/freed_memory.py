"""Give memory back to the system that the server's process of a job no longer uses.

glibc keeps what was freed, in a store for each of up to eight threads a core, and learns from every large array that
is freed to keep larger ones. FLARE reads and sends pieces in dozens of threads. So a process would keep a multiple of
what it ever needed at once.
"""

import ctypes
import gc

# Of glibc's mallopt: freed memory at a store's end, arrays that get memory of their own, and the number of stores.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
# glibc's own value, which stays as it is once it is set.
THRESHOLD = 2**17
STORES = 2


def return_freed_memory() -> None:
    """Let this process keep little of what it frees; nothing happens where the C library is not glibc."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, THRESHOLD)
        mallopt(M_ARENA_MAX, STORES)


def free_messages() -> None:
    """Free the messages that have been answered: FLARE's refer to themselves, so that they and their arrays linger."""
    gc.collect()

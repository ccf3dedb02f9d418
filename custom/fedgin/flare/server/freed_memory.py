"""Give memory back to the system that the server's process of a job no longer uses.

glibc learns from every large array that is freed to keep larger ones, and FLARE reads and sends pieces in dozens of
threads. So a process would keep a multiple of what it ever needed at once.
"""

import ctypes
import gc

# Of glibc's mallopt: how much may be free at the end of the heap, and from where on an array gets memory of its own.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Bytes. glibc's own value, which stays as it is once it is set.
THRESHOLD = 2**17


def return_freed_memory() -> None:
    """Let this process keep little of what it frees; nothing happens where the C library is not glibc."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, THRESHOLD)


def free_messages() -> None:
    """Free the messages that have been answered: FLARE's refer to themselves, so that they and their arrays linger."""
    gc.collect()

"""Let the modes of files bind this process, also where it is root, as which containers run."""

import contextlib
import ctypes
from collections.abc import Iterator

# linux/capability.h: the version of the structures, and the rights to ignore modes.
VERSION_3 = 0x20080522
DAC_OVERRIDE, DAC_READ_SEARCH = 1 << 1, 1 << 2


@contextlib.contextmanager
def bound_by_modes() -> Iterator[None]:
    """Take from this thread the rights to ignore modes, for a while; without them nothing changes."""
    kernel = ctypes.CDLL(None, use_errno=True)
    # For the kernel rights are effective, permitted and inheritable ones, 32 at a time.
    header, rights = (ctypes.c_uint32 * 2)(VERSION_3, 0), (ctypes.c_uint32 * 6)()
    assert kernel.capget(header, rights) == 0
    before = rights[0]
    rights[0] &= ~(DAC_OVERRIDE | DAC_READ_SEARCH)
    assert kernel.capset(header, rights) == 0
    try:
        yield
    finally:
        rights[0] = before
        assert kernel.capset(header, rights) == 0

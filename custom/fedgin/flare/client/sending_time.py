"""How long a site waits for the server's answer to a result that it sends."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from nvflare.apis.dxo import from_shareable
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

# What FLARE waits for any result.
SECONDS = 300.0
# Bytes a second of the slowest line: 256 kbit/s.
SLOWEST = 32_000


def allow_time(fl_ctx: FLContext) -> None:
    """Let FLARE wait as long as a slow line needs for the result that it is about to send.

    After five minutes FLARE takes any result for lost, and sends it again. The server then fetches both at once, over
    the line that was too slow for one. A small network keeps the five minutes: nobody notices earlier that the server's
    answer was lost.
    """
    runner = fl_ctx.get_prop(FLContextKey.RUNNER)
    runner.submit_task_result_timeout = max(SECONDS, _bytes(fl_ctx.get_prop(FLContextKey.TASK_RESULT)) / SLOWEST)


def _bytes(result: Shareable) -> int:
    """Count what weights take, encrypted or not; the rest of a result is small."""
    try:
        data = from_shareable(result).data
    except ValueError:  # it carries a code alone
        return 0
    return sum(map(_size, data.values())) if isinstance(data, Mapping) else 0


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray | np.generic):
        return int(value.nbytes)
    return len(value) if isinstance(value, bytes) else 0

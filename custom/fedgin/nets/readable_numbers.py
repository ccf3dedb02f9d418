"""Numbers that a network's own code reads out of a tensor while it is built on the device ``meta``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class ReadableNumbers(TorchFunctionMode):
    """Inside, ``torch.linspace`` is of the CPU: MONAI reads the rates of its blocks out of one.

    A job's network is counted on ``meta``, where it takes no memory, and where no tensor has a number to read.

    >>> with torch.device("meta"), ReadableNumbers():
    ...     torch.linspace(0, 1, 3)[1].item(), torch.ones(2).device.type
    (0.5, 'meta')
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, one of them for another device."""
        given = dict(kwargs or {})
        return func(*args, **(given | {"device": "cpu"} if func is torch.linspace else given))

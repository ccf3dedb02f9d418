"""Networks on PyTorch's device ``meta``: all but the numbers, for who counts weights or reads their shapes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def without_memory() -> Iterator[None]:
    """Inside, tensors are made on ``meta``, where they take no memory and have no numbers.

    >>> with without_memory():
    ...     layer = torch.nn.Linear(100_000, 100_000)
    ...     rates = torch.linspace(0, 1, 3).tolist()
    >>> layer.weight.numel(), layer.weight.is_meta, rates
    (10000000000, True, [0.0, 0.5, 1.0])
    """
    with torch.device("meta"), _Numberless():
        yield


class _Numberless(TorchFunctionMode):
    """``torch.linspace`` is of the CPU, because MONAI reads the rates of its blocks out of one. And nothing is drawn
    into a tensor that has no numbers: to find out that nothing changes, PyTorch imports sympy, 0.9 s of CPU and 50 MB.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, if need be for another device."""
        given = dict(kwargs or {})
        if func is torch.Tensor.normal_ and args[0].is_meta:
            return args[0]
        return func(*args, **(given | {"device": "cpu"} if func is torch.linspace else given))

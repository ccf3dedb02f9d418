"""Networks on PyTorch's device ``meta``: all but the numbers, for who counts weights or reads their shapes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

DRAWS = (torch.Tensor.normal_, nn.init.normal_)


@contextmanager
def without_memory() -> Iterator[None]:
    """Inside, tensors are made on ``meta``, where they take no memory and have no numbers.

    >>> with without_memory():
    ...     layer = torch.nn.Linear(100_000, 100_000)
    >>> layer.weight.numel(), layer.weight.is_meta
    (10000000000, True)
    """
    with torch.device("meta"), _Undrawn():
        yield


class _Undrawn(TorchFunctionMode):
    """Networks draw their weights from normal distributions; a tensor without numbers stays as it is.

    To find out that nothing changes, PyTorch would import sympy: 0.9 s of CPU and 50 MB.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, or return the tensor into which it would draw."""
        given = dict(kwargs or {})
        if func in DRAWS and (tensor := args[0] if args else given["tensor"]).is_meta:
            return tensor
        return func(*args, **given)

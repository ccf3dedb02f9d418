"""Write the numbers of a draw as text and read them back, so that it can be replayed."""

import json
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from fedgin.augment.base import Augmentation, Draw

ParamsT = TypeVar("ParamsT")
# float32 survives the way through decimal digits of a double unchanged.
DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.float64, torch.int64, torch.bool)}


def draw_to_text(draw: Draw[Any]) -> str:
    """Return every random number of a draw as JSON.

    >>> from fedgin.augment import build_augmentation
    >>> gin = build_augmentation("gin", layers=1, kernel_sizes=[1])
    >>> draw = gin.draw((1, 1, 4, 4), gen=torch.Generator().manual_seed(0))
    >>> text = draw_to_text(draw)
    >>> again = draw_from_text(text, gin)
    >>> image = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> bool(torch.equal(gin.apply(image, again), gin.apply(image, draw)))
    True
    """
    return json.dumps(_plain(draw))


def draw_from_text(text: str, method: Augmentation[ParamsT]) -> Draw[ParamsT]:
    """Return the draw of ``method`` of which :func:`draw_to_text` wrote the numbers."""
    values = json.loads(text)
    return Draw(
        params=_restored(values["params"], get_type_hints(type(method).draw_params)["return"]),
        applied=_restored(values["applied"], Tensor),
        background=_restored(values["background"], Tensor),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return {"dtype": str(value.dtype), "shape": list(value.shape), "values": value.flatten().tolist()}
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _restored(value: Any, kind: Any) -> Any:
    """Build what a type hint says: a tensor, a dataclass, a tuple, one of them or nothing, or a plain value."""
    if value is None:
        return None
    if get_origin(kind) in (Union, UnionType):
        return _restored(value, next(each for each in get_args(kind) if each is not type(None)))
    if kind is Tensor:
        return torch.tensor(value["values"], dtype=DTYPES[value["dtype"]]).reshape(value["shape"])
    if get_origin(kind) is tuple:
        return tuple(_restored(item, get_args(kind)[0]) for item in value)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _restored(item, hints[name]) for name, item in value.items()})  # type: ignore[operator]
    return value

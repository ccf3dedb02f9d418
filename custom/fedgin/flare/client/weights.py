"""Network weights as FLARE carries them: a DXO of NumPy arrays."""

from collections.abc import Mapping

import numpy as np
import torch
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.shareable import Shareable
from torch import Tensor

from fedgin.errors import WeightsError


def weights_from_shareable(shareable: Shareable, *, source: str) -> dict[str, Tensor]:
    """Read full weights from a task.

    Raises:
        WeightsError: the task carries no DXO, another kind of data, or something that is no array.
    """
    try:
        dxo = from_shareable(shareable)
    except Exception:  # FLARE raises several kinds for a shareable without DXO
        raise WeightsError(
            f"{source}: the task carries no weights", "use this package's job on the server too"
        ) from None
    if dxo.data_kind != DataKind.WEIGHTS or not isinstance(dxo.data, Mapping) or not dxo.data:
        raise WeightsError(f"{source}: the task carries no weights", "use this package's job on the server too")
    return {_plain(name, source): _to_tensor(name, value, source) for name, value in dxo.data.items()}


def weights_to_dxo(weights: Mapping[str, Tensor], data_kind: str, meta: Mapping[str, object] | None = None) -> DXO:
    """Pack weights, or their differences, as NumPy arrays."""
    arrays = {name: value.detach().cpu().numpy() for name, value in weights.items()}
    return DXO(data_kind=data_kind, data=arrays, meta=dict(meta or {}))


def _plain(name: object, source: str) -> str:
    if isinstance(name, str):
        return name
    raise WeightsError(f"{source}: the name of an entry is no text", "use this package's job on the server too")


def _to_tensor(name: str, value: object, source: str) -> Tensor:
    try:
        if isinstance(value, Tensor) and value.layout is torch.strided:
            return value.detach().cpu()
        if isinstance(value, list) and value and all(type(number) is float for number in value):
            return torch.tensor(value, dtype=torch.float32)  # as FLARE's decryption hands it over, flat
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub":
            # A copy: arrays that FLARE received may be read-only views of its buffers.
            return torch.from_numpy(np.array(value))
    except (TypeError, ValueError, NotImplementedError):
        pass  # PyTorch has no such number (extended precision, another byte order), or the tensor has no values (meta)
    raise WeightsError(f"{source}: entry '{name}' is no array of numbers", "use this package's job on the server too")

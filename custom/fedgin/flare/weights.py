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
    return {str(name): _to_tensor(name, value, source) for name, value in dxo.data.items()}


def weights_to_dxo(weights: Mapping[str, Tensor], data_kind: str, meta: Mapping[str, object] | None = None) -> DXO:
    """Pack weights, or their differences, as NumPy arrays."""
    arrays = {name: value.detach().cpu().numpy() for name, value in weights.items()}
    return DXO(data_kind=data_kind, data=arrays, meta=dict(meta or {}))


def _to_tensor(name: object, value: object, source: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub":
        # A copy: arrays that FLARE received may be read-only views of its buffers.
        return torch.from_numpy(np.array(value))
    raise WeightsError(f"{source}: entry '{name}' is no array of numbers", "use this package's job on the server too")

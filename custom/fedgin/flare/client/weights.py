"""Network weights as FLARE carries them: a DXO of NumPy arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.shareable import Shareable

from fedgin.errors import WeightsError
from fedgin.flare.array_limit import UNFETCHED

# What PyTorch has, too: neither extended precision nor another byte order.
NUMBERS = {np.dtype(code) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")}


def weights_from_shareable(shareable: Shareable, *, source: str) -> dict[str, NDArray[Any]]:
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
    return {_plain(name, source): _to_array(name, value, source) for name, value in dxo.data.items()}


def weights_to_dxo(
    weights: Mapping[str, NDArray[Any]], data_kind: str, meta: Mapping[str, object] | None = None
) -> DXO:
    """Pack weights, or their differences."""
    return DXO(data_kind=data_kind, data=dict(weights), meta=dict(meta or {}))


def _plain(name: object, source: str) -> str:
    if isinstance(name, str):
        return name
    raise WeightsError(f"{source}: the name of an entry is no text", "use this package's job on the server too")


def _to_array(name: str, value: object, source: str) -> NDArray[Any]:
    if value is UNFETCHED:
        problem = f"{source}: the model was not fetched: it is damaged, or larger than 'limits' of site.yaml allow"
        raise WeightsError(problem, "use this package's job on the server too")
    if isinstance(value, list) and value and all(type(number) is float for number in value):
        with np.errstate(over="ignore"):  # what becomes infinite is refused when the network takes it
            return np.array(value, np.float32)  # as FLARE's decryption hands it over, flat
    if isinstance(value, np.ndarray | np.generic) and value.dtype in NUMBERS:
        return np.asarray(value)
    raise WeightsError(f"{source}: entry '{name}' is no array of numbers", "use this package's job on the server too")

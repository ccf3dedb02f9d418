"""Start a network from a file of weights: safetensors, which holds no code, and nothing but what fits."""

from collections.abc import Collection, Mapping
from pathlib import Path

import safetensors
from safetensors import SafetensorError
from torch import nn

from fedgin.errors import WeightsError
from fedgin.nets.settings import Pretrained
from fedgin.train.checkpoint import averaged_weights, load_weights
from fedgin.train.pretrained_file import find_file

SHOWN = 8
Shape = tuple[int, ...]


def start_from(network: nn.Module, pretrained: Pretrained, models: Path | None) -> None:
    """Put the weights of a file into a network; what is left out keeps its value.

    Args:
        network: changed in place, or not at all when something does not fit.
        pretrained: which file, and what is left out.
        models: the folder with the file.

    Raises:
        FedginError: as :func:`~fedgin.train.pretrained_file.find_file` and :func:`check_entries`; or a weight is NaN or
            infinite.
    """
    path = find_file(pretrained, models)
    check_entries(network, pretrained, path)
    own = averaged_weights(network)
    taken = [name for name in own if not _left_out(name, pretrained.leave_out)]
    with safetensors.safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in taken}
    load_weights(network, {**own, **weights}, source=pretrained.file)


def check_entries(network: nn.Module, pretrained: Pretrained, path: Path) -> None:
    """Compare names and shapes of a file's entries with those of a network; no weight is read.

    Integer entries, which are counters, are not looked at.

    Args:
        network: on any device, also ``meta``.
        pretrained: what is left out.
        path: the file.

    Raises:
        WeightsError: the file is damaged; entries do not fit and are not left out; or what is left out is nowhere.
    """
    own = {name: tuple(value.shape) for name, value in averaged_weights(network).items()}
    there = _shapes(path, pretrained.file)
    for name in pretrained.leave_out:
        if not any(_left_out(entry, [name]) for entry in own.keys() | there.keys()):
            raise WeightsError(
                f"network.pretrained.leave_out: neither {pretrained.file} nor the network has '{name}'",
                f"correct the name; the network's entries begin with {', '.join(sorted(own)[:3])}",
            )
    faults = [
        fault
        for name in sorted(own.keys() | there.keys())
        if not _left_out(name, pretrained.leave_out) and (fault := _fault(name, own, there))
    ]
    if faults:
        more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        raise WeightsError(
            f"{pretrained.file} does not fit the network: {'; '.join([*faults[:SHOWN], *more])}",
            "name what may start anew in network.pretrained.leave_out, entries or whole layers",
        )


def _shapes(path: Path, name: str) -> dict[str, Shape]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            slices = {entry: file.get_slice(entry) for entry in file.keys()}  # noqa: SIM118 - it is no mapping
            return {entry: tuple(part.get_shape()) for entry, part in slices.items() if _is_float(part.get_dtype())}
    except (OSError, SafetensorError):
        raise WeightsError(f"{name} is damaged, or no safetensors file", "get the file again") from None


def _is_float(dtype: str) -> bool:
    return dtype.startswith(("F", "BF"))


def _left_out(name: str, layers: Collection[str]) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)


def _fault(name: str, own: Mapping[str, Shape], there: Mapping[str, Shape]) -> str:
    if name not in there:
        return f"'{name}' is missing"
    if name not in own:
        return f"'{name}' does not belong to the network"
    if own[name] != there[name]:
        return f"'{name}' has shape {list(there[name])}, the network needs {list(own[name])}"
    return ""

"""Files that outlive a process: weights and optimiser state, written whole or not at all, read without pickled code."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fedgin.errors import WeightsError
from fedgin.files import whole_file
from fedgin.nets.without_memory import without_memory
from fedgin.train.experiment import Experiment


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Save tensors, numbers, strings and containers of them.

    Raises:
        WeightsError: the folder cannot be written; nothing half-written remains.
    """
    try:
        with whole_file(path) as part:
            torch.save(dict(content), part)
    except (OSError, RuntimeError):
        fix = "free disk space and check the folder's permissions"
        raise WeightsError(f"{path.name} cannot be written", fix) from None


def load_checkpoint(path: Path, *needed: str) -> dict[str, Any]:
    """Load what :func:`save_checkpoint` or FLARE's ``PTFileModelPersistor`` saved.

    Args:
        path: a regular file.
        needed: keys that the checkpoint must have.

    Raises:
        WeightsError: missing, damaged, holding anything but plain data (``weights_only`` refuses to run it), or
            without a key that is needed.
    """
    if not os.path.isfile(path):
        raise WeightsError(f"{path.name} does not exist", "check the path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a damaged file raises many kinds; all mean the same
        raise WeightsError(
            f"{path.name} is damaged or holds more than plain weights", "restore it; files with code are never loaded"
        ) from None
    if not isinstance(content, dict) or not content.keys() >= set(needed):
        raise WeightsError(f"{path.name} is no checkpoint", "give a file that this package or FLARE wrote")
    return content


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Put weights into a network; every floating-point entry must be there, with the right shape and finite.

    Integer buffers (BatchNorm's counters) are never averaged: the network keeps its own, whatever ``weights`` says.

    Args:
        network: changed in place, or not at all when something does not fit.
        weights: tensors by state-dict name.
        source: where they come from, for the error.

    Raises:
        WeightsError: missing, extra or misshapen entries, NaN, infinity or what becomes infinite in the network's
            precision; names the first entry at fault.
    """
    expected = averaged_weights(network)
    if not isinstance(weights, Mapping) or not all(_is_entry(*item) for item in weights.items()):
        raise WeightsError(f"{source}: no tensors by name", "give weights that this package or FLARE wrote")
    weights = {name: value for name, value in weights.items() if value.is_floating_point()}
    for name in sorted(expected.keys() | weights.keys()):
        fault = _fault(name, expected, weights)
        if fault:
            raise WeightsError(
                f"{source}: entry '{name}' {fault}", "use the network of the same experiment.yaml everywhere"
            )
    network.load_state_dict(weights, strict=False)  # what is not there are counters, and second names of the same


def averaged_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the entries of the state dict that can be averaged: all floating-point ones."""
    return {name: value for name, value in unique_entries(network).items() if value.is_floating_point()}


def count_weights(network: nn.Module) -> int:
    """Return the number of a network's weights, as ``limits.parameters`` of a site means it."""
    return sum(weights.numel() for weights in network.parameters())


def count_initial_weights(experiment: Experiment) -> int:
    """Return how many weights the experiment's network has, without memory for them."""
    with without_memory():
        return count_weights(experiment.initial_network())


def unique_entries(network: nn.Module) -> dict[str, Tensor]:
    """Return the state dict with each tensor once, by its first name.

    Some networks name a layer twice: MONAI's ``DynUNet`` holds its blocks in a list and in the tree that it runs. A
    second name would be sent, averaged and clipped as if it were another weight.
    """
    named = {id(value): name for name, value in reversed(network.state_dict(keep_vars=True).items())}
    return {name: value for name, value in network.state_dict().items() if name in set(named.values())}


def _is_entry(name: object, value: object) -> bool:
    dense = isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta
    return dense and isinstance(name, str)


def _fault(name: str, expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    if name not in weights:
        return "is missing"
    if name not in expected:
        return "does not belong to the network"
    if weights[name].shape != expected[name].shape:
        return f"has shape {list(weights[name].shape)}, the network needs {list(expected[name].shape)}"
    if not bool(torch.isfinite(weights[name].to(expected[name].dtype)).all()):
        return "holds NaN or infinity"
    return ""

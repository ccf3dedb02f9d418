"""The normalisation of a network as a choice of its own, the same for every architecture."""

from collections.abc import Callable
from typing import Literal

from torch import nn

from fedgin.nets.dsbn import EPS, MOMENTUM, DomainBatchNorm2d

Normalisation = Literal["instance", "batch", "dsbn", "fedbn"]


def normalise_with(network: nn.Module, normalisation: Normalisation) -> nn.Module:
    """Replace the normalisation layers of a 2D network, in place, by the chosen ones with as many channels.

    ``instance`` leaves GroupNorm, which SegResNet was designed with: it too normalises each image by itself and keeps
    no statistics. The others replace every layer. New layers start with scale 1 and shift 0 and draw no random number,
    so that a seed gives the same convolutions whichever normalisation is chosen.

    Args:
        network: with InstanceNorm2d, BatchNorm2d or GroupNorm layers.
        normalisation: ``instance``, ``batch``, ``dsbn`` (one BatchNorm a modality) or ``fedbn`` (the layers are those
            of ``batch``; what differs is that they stay at the site).
    """
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            channels = _channels(layer)
            if channels and not (normalisation == "instance" and isinstance(layer, nn.GroupNorm)):
                setattr(parent, name, _LAYERS[normalisation](channels))
    return network


def batch_norm_entries(network: nn.Module) -> set[str]:
    """Return the names of the state-dict entries of all BatchNorm layers: affine part, statistics and counters."""
    return {
        f"{name}.{entry}"
        for name, layer in network.named_modules(remove_duplicate=False)  # DynUNet names its blocks twice
        if isinstance(layer, nn.BatchNorm2d)
        for entry in layer.state_dict()
    }


def _instance(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, eps=EPS, affine=True)


def _batch(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=EPS, momentum=MOMENTUM)


_LAYERS: dict[Normalisation, Callable[[int], nn.Module]] = {
    "instance": _instance,
    "batch": _batch,
    "dsbn": DomainBatchNorm2d,
    "fedbn": _batch,
}


def _channels(layer: nn.Module) -> int:
    """Return the channels of a normalisation layer, 0 for every other layer."""
    if isinstance(layer, nn.InstanceNorm2d | nn.BatchNorm2d):
        return layer.num_features
    return layer.num_channels if isinstance(layer, nn.GroupNorm) else 0

"""The normalisation of a network as a choice of its own, the same for every architecture."""

import torch
from monai.networks.layers.factories import Norm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from fedgin.nets.dsbn import EPS, MOMENTUM, DomainBatchNorm
from fedgin.nets.settings import Normalisation


def normalise_with(network: nn.Module, normalisation: Normalisation, *, spatial_dims: int) -> nn.Module:
    """Replace the normalisation layers of a network, in place, by the chosen ones with as many channels.

    LayerNorm, which transformers have, normalises each position by itself and stays.

    ``instance`` leaves GroupNorm, which SegResNet was designed with: it too normalises each image by itself and keeps
    no statistics. The others replace every layer. New layers start with the scale and shift of those that they replace,
    or with 1 and 0, and draw no random number, so that a seed gives the same convolutions whichever normalisation is
    chosen.

    Args:
        network: the network with InstanceNorm, BatchNorm or GroupNorm layers.
        normalisation: ``instance``, ``batch``, ``dsbn`` (one BatchNorm a modality) or ``fedbn`` (the layers are those
            of ``batch``; what differs is that they stay at the site).
        spatial_dims: number of spatial axes of its input.
    """
    # A layer that has two names is replaced by one that has both.
    made: dict[nn.Module, nn.Module] = {}
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            channels = _channels(layer)
            if channels and not (normalisation == "instance" and isinstance(layer, nn.GroupNorm)):
                if layer not in made:
                    made[layer] = _make_layer(normalisation, spatial_dims, channels)
                    _copy_affine(layer, made[layer])
                setattr(parent, name, made[layer])
    return network


def batch_norm_entries(network: nn.Module) -> set[str]:
    """Return the names of the state-dict entries of all BatchNorm layers: affine part, statistics and counters."""
    return {
        f"{name}.{entry}"
        for name, layer in network.named_modules(remove_duplicate=False)  # DynUNet names its blocks twice
        if isinstance(layer, _BatchNorm)
        for entry in layer.state_dict()
    }


def _channels(layer: nn.Module) -> int:
    """Return the channels of a normalisation layer, 0 for every other layer."""
    if isinstance(layer, _InstanceNorm | _BatchNorm):
        return layer.num_features
    return layer.num_channels if isinstance(layer, nn.GroupNorm) else 0


def _copy_affine(old: nn.Module, new: nn.Module) -> None:
    """Let a new layer, and each branch of a domain layer, begin as the old one: some begin with a scale of 0."""
    if getattr(old, "weight", None) is None:
        return
    with torch.no_grad():
        for layer in new.modules():
            if isinstance(layer, _InstanceNorm | _BatchNorm):
                layer.weight.copy_(old.weight)  # type: ignore[arg-type]
                layer.bias.copy_(old.bias)  # type: ignore[arg-type]


def _make_layer(normalisation: Normalisation, spatial_dims: int, channels: int) -> nn.Module:
    if normalisation == "dsbn":
        return DomainBatchNorm(spatial_dims, channels)
    if normalisation == "instance":
        instance: nn.Module = Norm[Norm.INSTANCE, spatial_dims](channels, eps=EPS, affine=True)
        return instance
    batch: nn.Module = Norm[Norm.BATCH, spatial_dims](channels, eps=EPS, momentum=MOMENTUM)
    return batch

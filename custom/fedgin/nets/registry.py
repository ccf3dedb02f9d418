"""Build a network from its name and parameters, always with the same initial weights for the same seed."""

import torch
from torch import nn

from fedgin.nets.normalisation import normalise_with
from fedgin.nets.settings import NetworkSettings, SpatialDims
from fedgin.registry import Registry

NETWORKS: Registry[nn.Module] = Registry("network", "fedgin.nets")


def network_names() -> list[str]:
    """Return the names that ``network.name`` can have."""
    return NETWORKS.names()


def build_network(settings: NetworkSettings, *, spatial_dims: SpatialDims, out_channels: int, seed: int) -> nn.Module:
    """Build a network that maps [B, 1, *spatial] to logits [B, out_channels, *spatial]; sizes are multiples of 16.

    One with deep supervision gives in training a list of them, the finest first.

    Args:
        settings: name, normalisation and parameters.
        spatial_dims: number of spatial axes.
        out_channels: number of classes with background.
        seed: the seed of the initial weights; PyTorch's global random state is left as it was.

    Raises:
        ConfigError: unknown name, or a parameter that the network does not have or refuses.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS.build(settings.name, settings.params, spatial_dims=spatial_dims, out_channels=out_channels)
    return normalise_with(network, settings.normalisation, spatial_dims=spatial_dims)

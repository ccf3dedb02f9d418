"""Build a network from its name and parameters, always with the same initial weights for the same seed."""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from fedgin.config import Settings
from fedgin.nets.normalisation import Normalisation, normalise_with
from fedgin.registry import Registry

# Axes of an image: 2 for slices [H, W], 3 for volumes [D, H, W].
SpatialDims = Literal[2, 3]

NETWORKS: Registry[nn.Module] = Registry("network", "fedgin.nets")


class NetworkSettings(Settings):
    """The ``network`` section of ``experiment.yaml``.

    Attributes:
        name: a registered network.
        normalisation: ``instance`` (each image by itself, no statistics), ``batch``, ``dsbn`` (a BatchNorm for each
            modality, averaged over that modality's sites) or ``fedbn`` (BatchNorm that never leaves the site; without a
            federation it is ``batch``). The authors' network is ``fedgin_unet`` with ``batch``.
        params: the network's own parameters.
    """

    name: str = "unet"
    normalisation: Normalisation = "instance"
    params: dict[str, Any] = Field(default_factory=dict)


def network_names() -> list[str]:
    """Return the names that ``network.name`` can have."""
    return NETWORKS.names()


def build_network(settings: NetworkSettings, *, spatial_dims: SpatialDims, out_channels: int, seed: int) -> nn.Module:
    """Build a network that maps [B, 1, *spatial] to logits [B, out_channels, *spatial]; sizes are multiples of 16.

    Args:
        settings: name, normalisation and parameters.
        spatial_dims: number of spatial axes.
        out_channels: number of classes with background.
        seed: of the initial weights; PyTorch's global random state is left as it was.

    Raises:
        ConfigError: unknown name, or a parameter that the network does not have or refuses.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS.build(settings.name, settings.params, spatial_dims=spatial_dims, out_channels=out_channels)
    return normalise_with(network, settings.normalisation, spatial_dims=spatial_dims)

"""Find a network by its name, and build it, always with the same initial weights for the same seed."""

from typing import TYPE_CHECKING

from fedgin.errors import ConfigError
from fedgin.nets.architecture import Architecture
from fedgin.nets.settings import NetworkSettings, SpatialDims
from fedgin.registry import Registry

if TYPE_CHECKING:
    from torch import nn

NETWORKS: Registry[Architecture] = Registry("network", "fedgin.nets.architectures")


def network_names() -> list[str]:
    """Return the names that ``network.name`` can have."""
    return NETWORKS.names()


def architecture(settings: NetworkSettings) -> Architecture:
    """Return the network's checked parameters; nothing is built.

    Raises:
        ConfigError: unknown name, or a parameter that the network does not have or refuses.
    """
    return NETWORKS.build(settings.name, settings.params)


def check_network(settings: NetworkSettings, size: tuple[int, ...]) -> None:
    """Check that a network exists, has these parameters and works on images of a size; nothing is built.

    Args:
        settings: name and parameters.
        size: of what the network sees, in pixels or voxels: (x, y) or (z, x, y).

    Raises:
        ConfigError: names each parameter or axis at fault.
    """
    parameters = architecture(settings)
    try:
        parameters.check_size(size)
    except ValueError as error:
        fix = "change preprocessing.size or network.params"
        raise ConfigError(f"network '{settings.name}' {error}", fix) from None


def build_network(settings: NetworkSettings, *, spatial_dims: SpatialDims, out_channels: int, seed: int) -> "nn.Module":
    """Build a network that maps [B, 1, *spatial] to logits [B, out_channels, *spatial].

    One with deep supervision gives in training a list of them, the finest first. :func:`check_network` says on which
    sizes it works.

    Args:
        settings: name, normalisation and parameters.
        spatial_dims: number of spatial axes.
        out_channels: number of classes with background.
        seed: the seed of the initial weights; PyTorch's global random state is left as it was.

    Raises:
        ConfigError: unknown name, or parameters that the network does not have or refuses.
    """
    # Not above: who only reads an experiment must not load PyTorch.
    import torch

    from fedgin.nets.normalisation import normalise_with

    parameters = architecture(settings)
    with torch.random.fork_rng(devices=[]):
        # Weights are drawn on the CPU. torch.manual_seed would seed GPUs as well, whose state nobody restores.
        torch.default_generator.manual_seed(seed)
        network = parameters.build(spatial_dims=spatial_dims, out_channels=out_channels)
    return normalise_with(network, settings.normalisation, spatial_dims=spatial_dims)

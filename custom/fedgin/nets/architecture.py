"""What a network is before it is built: parameters, and the images that it works on. Nothing here loads PyTorch."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedgin.config import Settings
from fedgin.nets.settings import SpatialDims

if TYPE_CHECKING:
    from torch import nn

# Channels of each level, the finest first.
Channels = Annotated[list[Annotated[int, Field(ge=1, le=2048)]], Field(min_length=2, max_length=8)]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]
# Names of the axes that a network sees, for error messages.
AXES = {2: ("x", "y"), 3: ("z", "x", "y")}


class Architecture(Settings, ABC):
    """A network by its parameters, the ``network.params`` of an experiment.

    A subclass has a field for each parameter, with its limits. It imports the library of its network in :meth:`build`
    alone, because consoles and FLARE's own processes read experiments and build nothing.
    """

    @abstractmethod
    def build(self, *, spatial_dims: SpatialDims, out_channels: int) -> "nn.Module":
        """Build the network, which maps [B, 1, *spatial] to logits [B, out_channels, *spatial].

        One with deep supervision gives in training a list of them, the finest first.
        """

    @abstractmethod
    def reductions(self, axes: int) -> tuple[int, ...]:
        """Return how many times smaller than the image its coarsest features are, along each of the axes."""

    def check_size(self, size: Sequence[int]) -> None:
        """Check that the network works on images of a size.

        Args:
            size: of ``preprocessing.size``, in the order that the network sees: z, x, y of a patch, x, y of a slice.

        Raises:
            ValueError: names each axis at fault and what fits.
        """
        reductions = self.reductions(len(size))
        faults = [
            f"along {axis} a multiple of {reduction}, not {side}"
            for axis, side, reduction in zip(AXES[len(size)], size, reductions, strict=True)
            if side % reduction
        ]
        if faults:
            raise ValueError(f"needs of preprocessing.size {' and '.join(faults)}")
        if math.prod(size) == math.prod(reductions):
            raise ValueError("reduces preprocessing.size to a single value, which cannot be normalised")


def halved(times: int, axes: int) -> tuple[int, ...]:
    """Return the reductions of a network that halves every axis so many times."""
    return (2**times,) * axes

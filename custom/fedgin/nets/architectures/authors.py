"""The network of the FedGIN authors' code, by its parameters."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedgin.nets.architecture import Architecture, Dropout, halved
from fedgin.nets.registry import NETWORKS
from fedgin.nets.settings import SpatialDims

if TYPE_CHECKING:
    from torch import nn


@NETWORKS.register("fedgin_unet")
class AuthorsUNet(Architecture):
    """See :class:`fedgin.nets.fedgin_unet.FedGINUNet`.

    Attributes:
        width: channels of the first level, doubled at each of the next three.
        dropout: probability after each block.
    """

    width: Annotated[int, Field(ge=4, le=256)] = 32
    dropout: Dropout = 0.3

    def build(self, *, spatial_dims: SpatialDims, out_channels: int) -> "nn.Module":
        """Build it; see :class:`Architecture`."""
        from fedgin.nets.fedgin_unet import FedGINUNet

        return FedGINUNet(spatial_dims, out_channels, self.width, self.dropout)

    def reductions(self, axes: int) -> tuple[int, ...]:
        """Return 8; see :class:`Architecture`."""
        return halved(3, axes)

"""Swin UNETR, by its parameters."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedgin.nets.architecture import Architecture, Dropout, halved
from fedgin.nets.registry import NETWORKS
from fedgin.nets.settings import SpatialDims

if TYPE_CHECKING:
    from torch import nn

Depths = Annotated[list[Annotated[int, Field(ge=1, le=24)]], Field(min_length=4, max_length=4)]


@NETWORKS.register("swin_unetr")
class SwinUNETR(Architecture):
    """MONAI ``SwinUNETR``: a transformer with shifted windows as encoder of a U-Net (Hatamizadeh et al. 2022).

    ``network.normalisation`` replaces the normalisation of its convolutions; its transformer keeps LayerNorm, which
    normalises each position by itself and has no statistics.

    Attributes:
        feature_size: channels of the finest level; heads have a third as many. The authors' model has 48.
        depths: transformer blocks of each of the four stages.
        window_size: side of an attention window, in positions of its stage.
        dropout: probability, of the transformer.
    """

    feature_size: Annotated[int, Field(ge=12, le=192, multiple_of=12)] = 24
    depths: Depths = Field(default=[2, 2, 2, 2])
    window_size: Annotated[int, Field(ge=2, le=16)] = 7
    dropout: Dropout = 0.0

    def build(self, *, spatial_dims: SpatialDims, out_channels: int) -> "nn.Module":
        """Build it; see :class:`Architecture`."""
        from monai.networks.nets import SwinUNETR as MonaiSwinUNETR

        from fedgin.nets.readable_numbers import ReadableNumbers

        with ReadableNumbers():
            return MonaiSwinUNETR(
                in_channels=1,
                out_channels=out_channels,
                depths=self.depths,
                window_size=self.window_size,
                feature_size=self.feature_size,
                drop_rate=self.dropout,
                spatial_dims=spatial_dims,
            )

    def reductions(self, axes: int) -> tuple[int, ...]:
        """Return 32; see :class:`Architecture`."""
        return halved(5, axes)

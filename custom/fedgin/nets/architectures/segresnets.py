"""MONAI's SegResNets. Their normalisation is chosen by ``network.normalisation``: :mod:`fedgin.nets.normalisation`."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedgin.nets.architecture import Architecture, Dropout, halved
from fedgin.nets.registry import NETWORKS
from fedgin.nets.settings import SpatialDims

if TYPE_CHECKING:
    from torch import nn

Filters = Annotated[int, Field(ge=8, le=256, multiple_of=8)]


@NETWORKS.register("segresnet")
class SegResNet(Architecture):
    """MONAI ``SegResNet`` (Myronenko 2018) without its variational branch; ``instance`` keeps its GroupNorm of 8.

    Attributes:
        init_filters: channels of the finest of its four levels, doubled at each of the next.
        dropout: probability.
    """

    init_filters: Filters = 16
    dropout: Dropout = 0.0

    def build(self, *, spatial_dims: SpatialDims, out_channels: int) -> "nn.Module":
        """Build it; see :class:`Architecture`."""
        from monai.networks.nets import SegResNet as MonaiSegResNet

        return MonaiSegResNet(
            spatial_dims=spatial_dims,
            in_channels=1,
            out_channels=out_channels,
            init_filters=self.init_filters,
            dropout_prob=self.dropout or None,
        )

    def reductions(self, axes: int) -> tuple[int, ...]:
        """Return 8; see :class:`Architecture`."""
        return halved(3, axes)


@NETWORKS.register("segresnet_ds")
class SegResNetDS(Architecture):
    """MONAI ``SegResNetDS``, of Auto3DSeg: a residual encoder with deep supervision (Myronenko et al. 2022).

    Attributes:
        init_filters: channels of the finest of its four levels, doubled at each of the next.
        supervised_levels: at how many resolutions it gives logits in training, the finest first.
    """

    init_filters: Filters = 16
    supervised_levels: Annotated[int, Field(ge=1, le=3)] = 3

    def build(self, *, spatial_dims: SpatialDims, out_channels: int) -> "nn.Module":
        """Build it; see :class:`Architecture`."""
        from monai.networks.nets import SegResNetDS as MonaiSegResNetDS

        return MonaiSegResNetDS(
            spatial_dims=spatial_dims,
            in_channels=1,
            out_channels=out_channels,
            init_filters=self.init_filters,
            norm="instance",
            dsdepth=self.supervised_levels,
        )

    def reductions(self, axes: int) -> tuple[int, ...]:
        """Return 8; see :class:`Architecture`."""
        return halved(3, axes)

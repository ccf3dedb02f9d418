"""MONAI's U-Nets. Their normalisation is chosen by ``network.normalisation``: :mod:`fedgin.nets.normalisation`."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedgin.nets.architecture import Architecture, Channels, Dropout, halved
from fedgin.nets.planned_unet import PlannedUNet, by_axis
from fedgin.nets.registry import NETWORKS
from fedgin.nets.settings import SpatialDims

if TYPE_CHECKING:
    from torch import nn


@NETWORKS.register("unet")
class UNet(Architecture):
    """MONAI ``UNet``: residual units, strided convolutions, skips at full resolution (Kerfoot et al. 2019).

    Attributes:
        channels: of each level, the finest first; each level is half as large as the one above it.
        residual_units: convolutions in a unit; 0 for plain convolutions.
        activation: ``prelu`` learns the slope of negative values; ``leaky_relu`` has 0.01 as nnU-Net does (Isensee et
            al. 2021), and takes less time on a CPU.
        dropout: probability.
    """

    channels: Channels = Field(default=[16, 32, 64, 128])
    residual_units: Annotated[int, Field(ge=0, le=8)] = 2
    activation: Literal["prelu", "leaky_relu"] = "prelu"
    dropout: Dropout = 0.0

    def build(self, *, spatial_dims: SpatialDims, out_channels: int) -> "nn.Module":
        """Build it; see :class:`Architecture`."""
        from monai.networks.nets import UNet as MonaiUNet

        return MonaiUNet(
            spatial_dims=spatial_dims,
            in_channels=1,
            out_channels=out_channels,
            channels=self.channels,
            strides=[2] * (len(self.channels) - 1),
            num_res_units=self.residual_units,
            act="prelu" if self.activation == "prelu" else ("leakyrelu", {"negative_slope": 0.01, "inplace": True}),
            dropout=self.dropout,
        )

    def reductions(self, axes: int) -> tuple[int, ...]:
        """Return a power of 2; see :class:`Architecture`."""
        return halved(len(self.channels) - 1, axes)


@NETWORKS.register("attention_unet")
class AttentionUNet(Architecture):
    """MONAI ``AttentionUnet`` (Oktay et al. 2018).

    Attributes:
        channels: of each level, the finest first; each level is half as large as the one above it.
        dropout: probability.
    """

    channels: Channels = Field(default=[16, 32, 64, 128])
    dropout: Dropout = 0.0

    def build(self, *, spatial_dims: SpatialDims, out_channels: int) -> "nn.Module":
        """Build it; see :class:`Architecture`."""
        from monai.networks.nets import AttentionUnet

        return AttentionUnet(
            spatial_dims=spatial_dims,
            in_channels=1,
            out_channels=out_channels,
            channels=self.channels,
            strides=[2] * (len(self.channels) - 1),
            dropout=self.dropout,
        )

    def reductions(self, axes: int) -> tuple[int, ...]:
        """Return a power of 2; see :class:`Architecture`."""
        return halved(len(self.channels) - 1, axes)


@NETWORKS.register("dynunet")
class DynUNet(PlannedUNet):
    """MONAI ``DynUNet``: the plain U-Net of nnU-Net (Isensee et al. 2021), without deep supervision."""

    channels: Annotated[Channels, Field(min_length=3)] = Field(default=[16, 32, 64, 128])

    def build(self, *, spatial_dims: SpatialDims, out_channels: int) -> "nn.Module":
        """Build it; see :class:`Architecture`."""
        from monai.networks.nets import DynUNet as MonaiDynUNet

        strides = [by_axis(entry, spatial_dims) for entry in self.level_strides()]
        return MonaiDynUNet(
            spatial_dims=spatial_dims,
            in_channels=1,
            out_channels=out_channels,
            kernel_size=[by_axis(entry, spatial_dims) for entry in self.level_kernels()],
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=self.channels,
        )

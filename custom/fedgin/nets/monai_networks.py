"""MONAI's networks, for slices or volumes, with the few parameters worth changing.

Their normalisation is chosen by ``network.normalisation``, see :mod:`fedgin.nets.normalisation`.
"""

from typing import Annotated

from monai.networks.nets import AttentionUnet, DynUNet, SegResNet, SegResNetDS, UNet
from pydantic import Field, validate_call
from torch import nn

from fedgin.nets.registry import NETWORKS
from fedgin.nets.settings import SpatialDims

Channels = Annotated[list[Annotated[int, Field(ge=1, le=2048)]], Field(min_length=2, max_length=5)]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]


@NETWORKS.register("unet")
@validate_call
def unet(
    *,
    spatial_dims: SpatialDims,
    out_channels: int,
    channels: Channels = [16, 32, 64, 128],  # noqa: B006 - copied by pydantic, never changed
    residual_units: Annotated[int, Field(ge=0, le=8)] = 2,
    dropout: Dropout = 0.0,
) -> nn.Module:
    """MONAI ``UNet``: residual units, strided convolutions, skips at full resolution (Kerfoot et al. 2019)."""
    return UNet(
        spatial_dims=spatial_dims,
        in_channels=1,
        out_channels=out_channels,
        channels=channels,
        strides=[2] * (len(channels) - 1),
        num_res_units=residual_units,
        dropout=dropout,
    )


@NETWORKS.register("dynunet")
@validate_call
def dynunet(
    *,
    spatial_dims: SpatialDims,
    out_channels: int,
    channels: Channels = [16, 32, 64, 128],  # noqa: B006 - copied by pydantic, never changed
) -> nn.Module:
    """MONAI ``DynUNet``: the U-Net of nnU-Net (Isensee et al. 2021), without deep supervision; three levels or more."""
    strides = [1] + [2] * (len(channels) - 1)
    return DynUNet(
        spatial_dims=spatial_dims,
        in_channels=1,
        out_channels=out_channels,
        kernel_size=[3] * len(channels),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=channels,
    )


@NETWORKS.register("segresnet")
@validate_call
def segresnet(
    *,
    spatial_dims: SpatialDims,
    out_channels: int,
    init_filters: Annotated[int, Field(ge=8, le=256, multiple_of=8)] = 16,
    dropout: Dropout = 0.0,
) -> nn.Module:
    """MONAI ``SegResNet`` (Myronenko 2018) without its variational branch; ``instance`` keeps its GroupNorm of 8."""
    return SegResNet(
        spatial_dims=spatial_dims,
        in_channels=1,
        out_channels=out_channels,
        init_filters=init_filters,
        dropout_prob=dropout or None,
    )


@NETWORKS.register("segresnet_ds")
@validate_call
def segresnet_ds(
    *,
    spatial_dims: SpatialDims,
    out_channels: int,
    init_filters: Annotated[int, Field(ge=8, le=256, multiple_of=8)] = 16,
    supervised_levels: Annotated[int, Field(ge=1, le=4)] = 4,
) -> nn.Module:
    """MONAI ``SegResNetDS``, of Auto3DSeg: a residual encoder with deep supervision (Myronenko et al. 2022).

    In training it gives logits at ``supervised_levels`` resolutions, the finest first; else the finest alone.
    """
    return SegResNetDS(
        spatial_dims=spatial_dims,
        in_channels=1,
        out_channels=out_channels,
        init_filters=init_filters,
        norm="instance",
        dsdepth=supervised_levels,
    )


@NETWORKS.register("attention_unet")
@validate_call
def attention_unet(
    *,
    spatial_dims: SpatialDims,
    out_channels: int,
    channels: Channels = [16, 32, 64, 128],  # noqa: B006 - copied by pydantic, never changed
    dropout: Dropout = 0.0,
) -> nn.Module:
    """MONAI ``AttentionUnet`` (Oktay et al. 2018)."""
    return AttentionUnet(
        spatial_dims=spatial_dims,
        in_channels=1,
        out_channels=out_channels,
        channels=channels,
        strides=[2] * (len(channels) - 1),
        dropout=dropout,
    )

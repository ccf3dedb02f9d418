"""The residual encoder U-Net of dynamic-network-architectures, as nnU-Net sets it up and uses it."""

from typing import Any

from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from torch import nn

from fedgin.nets.settings import SpatialDims


class SupervisedUNet(ResidualEncoderUNet):
    """Gives logits of all levels in training only, which nnU-Net's trainer switches by hand."""

    def __init__(self, *, deep_supervision: bool, **parts: Any) -> None:
        super().__init__(deep_supervision=deep_supervision, **parts)
        self.deep_supervision = deep_supervision

    def train(self, mode: bool = True) -> "SupervisedUNet":
        """Switch between training and evaluation, and with it the output."""
        self.decoder.deep_supervision = mode and self.deep_supervision
        super().train(mode)
        return self


def nnunet_parts(spatial_dims: SpatialDims) -> dict[str, Any]:
    """Return what all of nnU-Net's networks are made of: InstanceNorm and leaky ReLU."""
    return {
        "conv_op": nn.Conv2d if spatial_dims == 2 else nn.Conv3d,
        "conv_bias": True,
        "norm_op": nn.InstanceNorm2d if spatial_dims == 2 else nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }

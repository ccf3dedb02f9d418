"""nnU-Net's residual encoder U-Net, by its parameters."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from fedgin.nets.planned_unet import PlannedUNet, by_axis
from fedgin.nets.registry import NETWORKS
from fedgin.nets.settings import SpatialDims

if TYPE_CHECKING:
    from torch import nn

# Residual blocks of each level in nnU-Net's presets.
BLOCKS = [1, 3, 4, 6, 6, 6, 6, 6]
Blocks = Annotated[list[Annotated[int, Field(ge=1, le=32)]], Field(min_length=2, max_length=8)]


@NETWORKS.register("resenc")
class ResEnc(PlannedUNet):
    """The U-Net with a residual encoder that nnU-Net recommends (Isensee et al. 2024), with one convolution a level up.

    nnU-Net's own has ``channels: [32, 64, 128, 256, 320, 320]`` for volumes.

    Attributes:
        blocks: residual blocks of each level; by default nnU-Net's 1, 3, 4 and then 6.
        deep_supervision: in training it gives logits of every level but the deepest, the finest first.
    """

    blocks: Blocks | None = None
    deep_supervision: bool = True

    @model_validator(mode="after")
    def _each_level_has_blocks(self) -> "ResEnc":
        if self.blocks is not None and len(self.blocks) != len(self.channels):
            raise ValueError(f"blocks has {len(self.blocks)} levels, channels has {len(self.channels)}")
        return self

    def build(self, *, spatial_dims: SpatialDims, out_channels: int) -> "nn.Module":
        """Build it; see :class:`Architecture`."""
        from fedgin.nets.residual_encoder import SupervisedUNet, nnunet_parts

        levels = len(self.channels)
        network = SupervisedUNet(
            input_channels=1,
            n_stages=levels,
            features_per_stage=self.channels,
            kernel_sizes=[by_axis(entry, spatial_dims) for entry in self.level_kernels()],
            strides=[by_axis(entry, spatial_dims) for entry in self.level_strides()],
            n_blocks_per_stage=self.blocks or BLOCKS[:levels],
            num_classes=out_channels,
            n_conv_per_stage_decoder=1,
            deep_supervision=self.deep_supervision,
            **nnunet_parts(spatial_dims),
        )
        network.apply(SupervisedUNet.initialize)
        return network

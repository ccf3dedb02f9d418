"""MedNeXt, by its parameters."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from fedgin.nets.architecture import Architecture, halved
from fedgin.nets.registry import NETWORKS
from fedgin.nets.settings import SpatialDims

if TYPE_CHECKING:
    from torch import nn

PerLevel = Annotated[list[Annotated[int, Field(ge=1, le=16)]], Field(min_length=2, max_length=7)]


@NETWORKS.register("mednext")
class MedNeXt(Architecture):
    """MONAI ``MedNeXt``: ConvNeXt blocks with large kernels in a U-Net (Roy et al. 2023).

    The defaults are the authors' S. B has ``expansions: [2, 3, 4, 4, 4]``; M also ``blocks: [3, 4, 4, 4, 4]``; L has
    ``[3, 4, 8, 8, 8]`` for both. The way up mirrors the way down. ``instance`` keeps its GroupNorm of single channels.

    Attributes:
        init_filters: channels of the finest level, doubled at each of the next.
        blocks: of each level, the finest first; each level is half as large as the one above it.
        expansions: how many times wider a block is inside, by level.
        kernel_size: of all convolutions by channel.
        deep_supervision: in training it gives logits of every level, the finest first.
    """

    init_filters: Annotated[int, Field(ge=2, le=128)] = 32
    blocks: PerLevel = Field(default=[2, 2, 2, 2, 2])
    expansions: PerLevel = Field(default=[2, 2, 2, 2, 2])
    kernel_size: Literal[3, 5, 7] = 3
    deep_supervision: bool = True

    @model_validator(mode="after")
    def _each_level_has_an_expansion(self) -> "MedNeXt":
        if len(self.expansions) != len(self.blocks):
            raise ValueError(f"expansions has {len(self.expansions)} levels, blocks has {len(self.blocks)}")
        return self

    def build(self, *, spatial_dims: SpatialDims, out_channels: int) -> "nn.Module":
        """Build it; see :class:`Architecture`."""
        from monai.networks.nets import MedNeXt as MonaiMedNeXt

        *blocks, deepest = self.blocks
        *expansions, widest = self.expansions
        return MonaiMedNeXt(
            spatial_dims=spatial_dims,
            init_filters=self.init_filters,
            out_channels=out_channels,
            encoder_expansion_ratio=expansions,
            decoder_expansion_ratio=expansions[::-1],
            bottleneck_expansion_ratio=widest,
            kernel_size=self.kernel_size,
            deep_supervision=self.deep_supervision,
            use_residual_connection=True,
            blocks_down=blocks,
            blocks_bottleneck=deepest,
            blocks_up=blocks[::-1],
        )

    def reductions(self, axes: int) -> tuple[int, ...]:
        """Return a power of 2; see :class:`Architecture`."""
        return halved(len(self.blocks) - 1, axes)

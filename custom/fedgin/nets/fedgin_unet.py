"""The U-Net of the FedGIN authors' code (sachugowda/FedGIN, Apache-2.0), written anew from its description."""

import torch
from monai.networks.layers.factories import Conv, Dropout, Norm, Pool
from torch import Tensor, nn
from torch.nn import functional as F

from fedgin.nets.settings import SpatialDims


class FedGINUNet(nn.Module):
    """Three-level U-Net whose skips are taken after pooling, so that it predicts at half resolution.

    The authors' code does so; it limits the Dice of small organs. It is here to compare with, not as the default.
    With one output channel it has 1.93 million parameters. The authors' code has BatchNorm, which is
    ``network.normalisation: batch``.

    Args:
        spatial_dims: number of spatial axes; the authors' has 2.
        out_channels: number of classes with background.
        width: channels of the first level, doubled at each of the next three.
        dropout: probability after each block.
    """

    def __init__(self, spatial_dims: SpatialDims, out_channels: int, width: int, dropout: float) -> None:
        super().__init__()
        sizes = [width, 2 * width, 4 * width]
        self.encoder = nn.ModuleList(
            [_block(spatial_dims, *widths, dropout) for widths in zip([1, *sizes[:-1]], sizes, strict=True)]
        )
        self.bottleneck = _block(spatial_dims, sizes[-1], 2 * sizes[-1], dropout)
        transposed = Conv[Conv.CONVTRANS, spatial_dims]
        self.pool = Pool[Pool.MAX, spatial_dims](2)
        self.up = nn.ModuleList([transposed(2 * size, size, 2, stride=2) for size in reversed(sizes)])
        self.decoder = nn.ModuleList([_block(spatial_dims, 2 * size, size, dropout) for size in reversed(sizes)])
        self.head = Conv[Conv.CONV, spatial_dims](width, out_channels, 1)
        self.mode = "bilinear" if spatial_dims == 2 else "trilinear"
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Map images [B, 1, *spatial] to logits [B, out_channels, *spatial]; sizes are multiples of 8."""
        features, skips = image, []
        for block in self.encoder:
            features = self.pool(block(features))
            skips.append(features)
        features = self.bottleneck(features)
        for up, block, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            raised = F.interpolate(up(features), size=skip.shape[2:], mode=self.mode, align_corners=False)
            features = block(torch.cat([raised, skip], dim=1))
        head = self.head(features)
        logits: Tensor = F.interpolate(head, size=image.shape[2:], mode=self.mode, align_corners=False)
        return logits


def _block(spatial_dims: SpatialDims, before: int, after: int, dropout: float) -> nn.Sequential:
    conv, norm = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims]
    convolutions: list[nn.Module] = []
    for channels in (before, after):
        convolutions += [conv(channels, after, 3, padding=1), norm(after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*convolutions, Dropout[Dropout.DROPOUT, spatial_dims](dropout))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

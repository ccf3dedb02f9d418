"""Deformable convolution: each kernel tap reads the image at its place plus an offset of its own.

Source: Dai et al., "Deformable convolutional networks", ICCV 2017. Here the offsets are shared by the whole batch.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F


def deform_conv(x: Tensor, weight: Tensor, offsets: Tensor) -> Tensor:
    """Convolve at the image's size, reading between pixels linearly and outside the image zeros.

    Args:
        x: float32 [B, C_in, H, W] or [B, C_in, D, H, W].
        weight: float32 [C_out, C_in, *kernel] with odd kernel sizes; T taps in all.
        offsets: float32 [T, axes, *spatial] in pixels; taps in the order of a flattened kernel, axes in that of the
            image. Zeros give the ordinary convolution with zero padding.

    Returns:
        float32 [B, C_out, *spatial].
    """
    batch, channels, *spatial = x.shape
    # The batch on the channel axis: positions are worked out once for all samples.
    image = x.reshape(1, batch * channels, *spatial)
    places = _pixel_places(spatial, x.device)
    scale = _column(spatial, x)
    out = x.new_zeros(batch, weight.shape[0], *spatial)
    taps = product(*(range(-(size // 2), size // 2 + 1) for size in weight.shape[2:]))
    for tap, offset, share in zip(taps, offsets, weight.flatten(2).unbind(2), strict=True):
        place = places + _column(tap, x) + offset
        # grid_sample puts -1 and 1 on the outer edges of the first and last pixel, and wants the last axis first.
        grid = ((2 * place + 1) / scale - 1).movedim(0, -1).flip(-1)
        values = F.grid_sample(image, grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)
        out += torch.einsum("bi...,oi->bo...", values.view(batch, channels, *spatial), share)
    return out


def _pixel_places(spatial: Sequence[int], device: torch.device) -> Tensor:
    """Return [axes, *spatial]: every pixel's index along each axis."""
    lines = [torch.arange(size, dtype=torch.float32, device=device) for size in spatial]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"))


def _column(values: Sequence[int], x: Tensor) -> Tensor:
    """Return one number an axis, shaped to go with [axes, *spatial]."""
    return torch.tensor(values, dtype=torch.float32, device=x.device).view(-1, *(1,) * len(values))

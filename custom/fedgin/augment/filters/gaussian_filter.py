"""The high-frequency part of an image: what a Gaussian blur takes away from it.

Source: Li et al., "Frequency-mixed single-source domain generalization for medical image segmentation" (FreeSDG),
MICCAI 2023, arXiv 2307.09005.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedgin.augment.filters.intensity import to_range

# The sizes of the published kernels are for images of 512 x 512 pixels.
PUBLISHED_SIZE = 512

_GAIN = 4.0


@dataclass(frozen=True)
class GaussianKernel:
    """A Gaussian of ``2 * radius + 1`` pixels a side and of standard deviation ``std`` pixels, with sum 1."""

    radius: int
    std: float

    def scaled_to(self, size: Sequence[int], *, from_size: int) -> "GaussianKernel":
        """Return the kernel with the same extent relative to an image of ``size`` [..., H, W], by its shorter side.

        The radius is rounded, and at least 1; the standard deviation is not. In small images few radii are left, and
        kernels that share one differ little: as published, a kernel ends after one standard deviation.
        """
        factor = min(size[-2:]) / from_size
        return GaussianKernel(max(1, round(factor * self.radius)), factor * self.std)


# The published H_{27,9}: what the network is shown at inference (FreeSDG) and what it learns to reconstruct.
FIXED_KERNEL = GaussianKernel(13, 9.0)


def high_frequency(image: Tensor, kernels: Sequence[GaussianKernel]) -> Tensor:
    """Return clamp(4 (x - x * G), -1, 1), the image minus its blur, amplified, per channel.

    Args:
        image: float32 [B, C, H, W], or [B, C, D, H, W] filtered slice by slice; FreeSDG gives it in [-1, 1].
        kernels: G of each sample, or one for all. Beyond the border the image continues with its border pixels.
    """
    shape = (len(kernels), *(1,) * (image.dim() - 3))
    rows, columns = (
        torch.stack([blur_matrix(side, kernel) for kernel in kernels]).to(image.device).view(*shape, side, side)
        for side in image.shape[-2:]
    )
    return (_GAIN * (image - rows @ image @ columns.mT)).clamp(-1.0, 1.0)


def blur_matrix(side: int, kernel: GaussianKernel) -> Tensor:
    """Return float32 [side, side] that blurs a column of ``side`` pixels, with its end pixels repeated beyond it.

    A Gaussian separates into one such product an axis, and products with other matrices for other samples make one
    batched call, whatever the kernels' sizes.
    """
    taps = torch.arange(-kernel.radius, kernel.radius + 1)
    weights = torch.exp(-0.5 * (taps / kernel.std) ** 2)
    sources = (torch.arange(side)[:, None] + taps).clamp(0, side - 1)
    return torch.zeros(side, side).scatter_add_(1, sources, (weights / weights.sum()).expand(side, -1))


def fixed_high_frequency(image: Tensor, *, low: float, from_size: int = PUBLISHED_SIZE) -> Tensor:
    """Return H_{27,9} of an image [B, C, *spatial] mapped to [``low``, 1]: float32, whatever the precision around.

    Args:
        image: any intensity unit.
        low: -1 in FreeSDG, 0 in RaffeSDG.
        from_size: image side for which the kernel's 27 pixels are meant; see :meth:`GaussianKernel.scaled_to`.
    """
    with torch.autocast(image.device.type, enabled=False):
        kernel = FIXED_KERNEL.scaled_to(image.shape, from_size=from_size)
        return high_frequency(to_range(image.float(), low, 1.0), [kernel])

"""High-pass filters of Butterworth form in the frequency plane of an image.

Source: Li et al., "RaffeSDG", arXiv 2405.01228. Ours: distances follow the discrete Fourier frequencies, so a mask is
symmetric about zero frequency and a filtered image is real. (The published distances are one off beyond the middle of
an axis, which leaves an imaginary part.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_PERCENTILES = (0.03, 0.97)
_FLAT_SPREAD = 1e-6


@dataclass(frozen=True)
class HighPass:
    """A filter: cut-off in cycles per image side (0 lets everything pass) and order."""

    cutoff: float
    order: int

    @classmethod
    def at_ratio(cls, ratio: float, order: int, size: Sequence[int]) -> "HighPass":
        """Return the filter for a cut-off given as share of the highest frequency of images of ``size`` [..., H, W].

        As published, the cut-off is max(1, floor(ratio * shorter side / 2)), so in small images several ratios give
        the same filter.
        """
        return cls(float(max(1, math.floor(ratio * min(size[-2:]) / 2))), order)


def butterworth_mask(size: Sequence[int], high_pass: HighPass) -> Tensor:
    """Return the gains float32 [H, W], unshifted: 1 / (1 + (cutoff / (D + 1))^(2 order)).

    D is the distance from zero frequency in cycles per image side. Because of the 1 added to it, zero frequency is
    not removed: a cut-off of 1 halves it.
    """
    rows, columns = (torch.fft.fftfreq(side, 1 / side, dtype=torch.float64) for side in size)
    distance = torch.hypot(rows[:, None], columns)
    return (1 / (1 + (high_pass.cutoff / (distance + 1)) ** (2 * high_pass.order))).float()


def filter_image(image: Tensor, filters: Sequence[HighPass]) -> Tensor:
    """Return the filtered image, which is real.

    Args:
        image: float32 [B, C, H, W], or [B, C, D, H, W] filtered slice by slice.
        filters: the filters of each sample, or one for all.
    """
    size = image.shape[-2:]
    masks = torch.stack([butterworth_mask(size, high_pass) for high_pass in filters]).to(image.device)
    half = masks[..., : size[1] // 2 + 1].view(len(filters), *(1,) * (image.dim() - 3), size[0], -1)
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * half, s=size)
    return filtered


def percentile_normalise(filtered: Tensor, original: Tensor) -> Tensor:
    """Map each channel of each sample so that its 3rd percentile becomes 0 and its 97th 1, without clipping.

    Args:
        filtered: float32 [B, C, *spatial].
        original: the original image, of that shape; its channels are given back where the percentiles are less
            than 1e-6 apart.
    """
    levels = filtered.new_tensor(_PERCENTILES)
    ends = torch.quantile(filtered.flatten(2), levels, dim=2)
    low, high = ends.view(2, *filtered.shape[:2], *(1,) * (filtered.dim() - 2))
    flat = high - low < _FLAT_SPREAD
    return torch.where(flat, original, (filtered - low) / torch.where(flat, 1.0, high - low))

"""Smooth random fields."""

from collections.abc import Sequence

import torch
from torch import Tensor


def gaussian_field(count: int, shape: Sequence[int], *, exponent: float, gen: torch.Generator) -> Tensor:
    """Draw Gaussian random fields whose power falls with the frequency: amplitude |f|^(-exponent / 2), none at f = 0.

    White noise is filtered in the frequency domain, so a field is periodic. Frequencies count cycles along an image
    axis: on a square the field is isotropic, on other shapes it is stretched with the image (Pro-RandConv, Choi et
    al., CVPR 2023, needs squares only; the stretch is ours).

    Args:
        count: number of independent fields.
        shape: the shape of one field, any number of axes.
        exponent: the larger, the smoother; Pro-RandConv uses 10.
        gen: CPU generator.

    Returns:
        float32 [count, *shape], each field with mean 0 and variance 1; zeros if ``shape`` has a single element.
    """
    axes = tuple(range(1, len(shape) + 1))
    spectrum = torch.fft.rfftn(torch.randn(count, *shape, generator=gen), dim=axes)
    filtered = torch.fft.irfftn(spectrum * _amplitude(shape, exponent), s=tuple(shape), dim=axes)
    deviation = filtered.flatten(1).std(1, correction=0).clamp_min(torch.finfo(torch.float32).tiny)
    return filtered / deviation.view(-1, *(1,) * len(shape))


def _amplitude(shape: Sequence[int], exponent: float) -> Tensor:
    """Return the gain of each frequency in the layout of ``rfftn``."""
    cycles = [torch.fft.fftfreq(size, 1 / size) for size in shape[:-1]] + [torch.fft.rfftfreq(shape[-1], 1 / shape[-1])]
    squared = torch.stack(torch.meshgrid(*cycles, indexing="ij")).square().sum(0)
    return torch.where(squared > 0, squared.clamp_min(1) ** (-exponent / 4), 0.0)

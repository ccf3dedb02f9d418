"""Intensity ranges that methods ask of their input."""

import torch
from torch import Tensor

from fedgin.augment.base import sample_range


def to_range(image: Tensor, low: float, high: float) -> Tensor:
    """Map each sample of [B, C, *spatial] linearly so that its smallest value becomes ``low`` and its largest ``high``.

    Smallest and largest are taken over channels and pixels. A flat sample becomes the midpoint.
    """
    least, most = sample_range(image)
    unit = torch.where(most > least, (image - least) / (most - least), 0.5)
    return low + (high - low) * unit

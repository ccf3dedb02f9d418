"""Maps of an image's intensity range."""

import torch
from torch import Tensor


def to_range(image: Tensor, low: float, high: float) -> Tensor:
    """Map each sample linearly, so that its minimum becomes ``low`` and its maximum ``high``.

    Args:
        image: floating point [B, C, *spatial], finite, any unit; extremes are over channels and pixels of a sample.
        low: of the result.
        high: of the result, above ``low``.

    Returns:
        a tensor like ``image``; samples of one single value become (low + high) / 2 everywhere.
    """
    rows = image.flatten(1)
    first, last = (end.view(-1, *(1,) * (image.dim() - 1)) for end in (rows.amin(1), rows.amax(1)))
    share = torch.where(last > first, (image - first) / (last - first), 0.5)
    return low + (high - low) * share

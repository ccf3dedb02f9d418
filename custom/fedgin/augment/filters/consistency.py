"""Consistency between differently augmented views of an image: their predictions should agree."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# The clamp of RandConv's official loop; it keeps the logarithm of a mean of softmaxes finite.
_SMALLEST = 1e-7


def divergence_from_mean(logits: Sequence[Tensor], *, to_mean: bool) -> Tensor:
    """Return the mean Kullback-Leibler divergence between each view's softmax p_i and their mean p, over pixels.

    Args:
        logits: one tensor [B, classes, *spatial] a view; at least two.
        to_mean: true for KL(p_i || p), as in RandConv (Xu et al. 2021); false for KL(p || p_i), as in GIN's original
            training (Ouyang et al. 2022). Gradients go through both sides.

    Returns:
        a scalar of at least 0: the divergence of a pixel in nats, averaged over pixels, samples and views. (GIN's
        original averages over classes too, which divides it by their number.)
    """
    logs = [F.log_softmax(view.float(), dim=1) for view in logits]
    mean = torch.stack([log.exp() for log in logs]).mean(0).clamp(_SMALLEST, 1.0).log()
    pairs = [(log, mean) if to_mean else (mean, log) for log in logs]
    return torch.stack([(p.exp() * (p - q)).sum(1).mean() for p, q in pairs]).mean()

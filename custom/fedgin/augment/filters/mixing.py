"""Mix an image with an altered version of it at the image's own norm."""

import torch
from torch import Tensor

from fedgin.augment.base import per_sample

# GIN's: it keeps a mixture of norm zero at zero.
_EPS = 1e-5


def match_norm_(out: Tensor, x: Tensor) -> Tensor:
    """Scale each sample of ``out`` in place to the Frobenius norm that it has in ``x``, over channels and pixels."""
    return out.mul_(_norm(x) / (_norm(out) + _EPS))


def mix_at_norm_(x: Tensor, out: Tensor, alpha: Tensor) -> Tensor:
    """Turn ``out`` in place into alpha * out + (1 - alpha) * x at the norm of ``x``.

    Args:
        x: float32 [B, C, *spatial].
        out: like ``x``; overwritten and returned.
        alpha: float32 [B] in [0, 1].
    """
    torch.lerp(x, out, per_sample(alpha.to(x.device), x.dim()), out=out)
    return match_norm_(out, x)


def _norm(x: Tensor) -> Tensor:
    return per_sample(torch.linalg.vector_norm(x.flatten(1), dim=1), x.dim())

"""Monotone curves of grey values from cubic Bezier curves.

Source: Zhou et al., "Models Genesis", MICCAI 2019, arXiv 1908.06912, in the form that never inverts.
"""

import torch
from torch import Tensor

# So many points of a curve are joined by straight lines; the error is far below a grey value of eight bits.
_POINTS = 1024


def bezier_map(values: Tensor, control: Tensor) -> Tensor:
    """Map each sample through its own curve from (0, 0) to (1, 1), which never falls.

    Args:
        values: float32 [B, ...] in [0, 1].
        control: float32 [B, 2, 2] in [0, 1], the two inner control points (x, y) of each sample.

    Returns:
        float32 like ``values``, in [0, 1]. The curve's x and y are sorted separately, which makes it monotone.

    >>> identity = torch.tensor([[[1 / 3, 1 / 3], [2 / 3, 2 / 3]]])
    >>> bezier_map(torch.tensor([[0.0, 0.25, 1.0]]), identity).tolist()
    [[0.0, 0.25, 1.0]]
    """
    t = torch.linspace(0.0, 1.0, _POINTS, device=values.device)
    inner = torch.stack([3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t)])
    curve = torch.einsum("bpc,pt->bct", control, inner) + t**3
    xs, ys = (curve[:, axis].sort(dim=1).values for axis in range(2))
    rows = values.flatten(1).contiguous()
    right = torch.searchsorted(xs, rows).clamp(1, _POINTS - 1)
    x0, x1, y0, y1 = (ends.gather(1, at) for ends in (xs, ys) for at in (right - 1, right))
    share = ((rows - x0) / (x1 - x0).clamp_min(1e-12)).clamp(0.0, 1.0)
    # The last points of a curve that ends steeply are rounded to one x.
    return torch.where(rows >= xs[:, -1:], ys[:, -1:], torch.lerp(y0, y1, share)).view_as(values)

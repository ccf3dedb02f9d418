"""RCNet: GIN's random network with an activation on its output too.

Source: Thaler et al., arXiv 2512.01510 (the network of their semantic-aware random convolution), written anew from its
description. There one network serves each labelled region; here one serves the whole image, since augmentations get
no labels.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.base import per_sample
from fedgin.augment.methods.gin import GIN, GINParams
from fedgin.augment.registry import register


@register("rcnet")
class RCNet(GIN):
    """GIN with a leaky ReLU of slope 0.1 after every layer, the last one included.

    Four layers of width 2, kernels of 1 or 3 pixels, standard normal weights for each sample, alpha uniform in [0, 1],
    and the image's norm restored: see :class:`~fedgin.augment.methods.gin.GIN`.

    A sample whose result sums to zero is given back unchanged; the original draws a new network instead.

    Args:
        padding: ``reflect`` (our default) or ``zeros`` (original).
        probability: see :class:`fedgin.augment.base.Augmentation`.
        background: see :class:`fedgin.augment.base.Augmentation`.

    Example:
        >>> import torch
        >>> from fedgin.augment import build_augmentation
        >>> slices = torch.randn(2, 1, 64, 64)
        >>> shown = build_augmentation("rcnet")(slices, gen=torch.Generator().manual_seed(1))
        >>> bool(torch.allclose(shown.flatten(1).norm(dim=1), slices.flatten(1).norm(dim=1), rtol=1e-3))
        True
    """

    def __init__(self, *, padding: str = "reflect", probability: float = 1.0, background: str = "free") -> None:
        super().__init__(slope=0.1, padding=padding, probability=probability, background=background)

    def run_network(self, x: Tensor, params: GINParams) -> Tensor:
        """Return the random network's output after one more activation."""
        return F.leaky_relu_(super().run_network(x, params), self.slope)

    def transform(self, x: Tensor, params: GINParams) -> Tensor:
        """Return what GIN makes of this network, or the sample itself where that sums to zero."""
        out = super().transform(x, params)
        alive = out.flatten(1).sum(1) != 0
        return torch.where(per_sample(alive, x.dim()), out, x)

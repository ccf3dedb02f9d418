"""A light progressive random convolution, as the FedGIN first author's second repository has it.

Source: the description of that port; the method is Pro-RandConv's (Choi et al., CVPR 2023, arXiv 2304.00424). It may
be closer to what the FedGIN paper compared with than the original, but that is not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedgin.augment.base import Augmentation
from fedgin.augment.filters.intensity import to_range
from fedgin.augment.filters.mixing import mix_at_norm_
from fedgin.augment.methods.prorandconv import KERNEL_SIZE, RandomBlock
from fedgin.augment.registry import register

MAX_LAYERS = 3


@dataclass(frozen=True)
class LightParams:
    """The block and how much of its output is mixed in.

    Attributes:
        block: without offsets.
        alpha: float32 [B]; weight of the block's output, the rest is the image.
    """

    block: RandomBlock
    alpha: Tensor


@register("prorandconv_light")
class ProRandConvLight(Augmentation[LightParams]):
    """Repeat one random block up to three times, then mix with the image at the image's norm, as GIN does.

    Kernel of 3 pixels an axis, normal with deviation 0.05, no offsets; gain normal around 1 with deviation 0.1, so that
    the affine map does not invert contrast; shift normal with deviation 0.05; one to three repeats. A batch shares
    these. Alpha is uniform in [0, 1], one a sample; the description does not say whether a batch shares it.

    Different from the port: it has one block per semantic class, joined by smoothed masks, but augmentations get no
    labels here, so one block serves the whole image. Its bias is left out, since the normalisation removes it. We
    normalise with sqrt(variance + 1e-5), the port with deviation + 1e-5.

    As for :class:`~fedgin.augment.methods.prorandconv.ProRandConv`, every view and every image at inference is mapped
    to [-1, 1], and calling the augmentation itself expects such images.

    Args:
        probability: see :class:`fedgin.augment.base.Augmentation`.
        background: see :class:`fedgin.augment.base.Augmentation`.

    Example:
        >>> import torch
        >>> from fedgin.augment import build_augmentation
        >>> slices = 2.0 * torch.rand(2, 1, 64, 64) - 1.0
        >>> shown = build_augmentation("prorandconv_light")(slices, gen=torch.Generator().manual_seed(1))
        >>> bool(torch.allclose(shown.flatten(1).norm(dim=1), slices.flatten(1).norm(dim=1), rtol=1e-3))
        True
    """

    def drawn_from(self, image: Tensor) -> Tensor:
        """Return the image in [-1, 1]; mixing can carry a view a little out of this range."""
        return to_range(image, -1.0, 1.0)

    def at_inference(self, image: Tensor) -> Tensor:
        """Return the same."""
        return self.drawn_from(image)

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> LightParams:
        """Draw kernel, gain, shift and the number of repeats, then alpha."""
        batch, channels, axes = shape[0], shape[1], len(shape) - 2
        block = RandomBlock(
            weight=0.05 * torch.randn(channels, channels, *(KERNEL_SIZE,) * axes, generator=gen),
            offsets=None,
            gamma=1 + 0.1 * torch.randn(channels, generator=gen),
            beta=0.05 * torch.randn(channels, generator=gen),
            repeats=int(torch.randint(1, MAX_LAYERS + 1, (), generator=gen)),
        )
        return LightParams(block, torch.rand(batch, generator=gen))

    def transform(self, x: Tensor, params: LightParams) -> Tensor:
        """Return the mixture of ``x`` and the block's output with the norm of ``x``."""
        return mix_at_norm_(x, params.block(x), params.alpha)

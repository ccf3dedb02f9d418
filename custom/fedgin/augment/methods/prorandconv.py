"""Progressive random convolution (Pro-RandConv): one random block applied several times.

Source: Choi et al., "Progressive random convolutions for single domain generalization", CVPR 2023, arXiv 2304.00424,
written from its description; no official code was found.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.base import Augmentation
from fedgin.augment.checks import check_choice, check_count, check_flag, check_number
from fedgin.augment.filters.deform_conv import deform_conv
from fedgin.augment.filters.gaussian_field import gaussian_field
from fedgin.augment.filters.intensity import to_range
from fedgin.augment.registry import register

KERNEL_SIZE = 3

# The paper asks for a small number as the lower end of its deviations.
_SMALLEST = 1e-4
_AFFINE_STD = 0.5
_FIELD_EXPONENT = 10.0
# From 128 pixels on an image counts as large, with larger offsets.
_LARGE = 128
_OFFSET_BOUNDS = (0.2, 0.5)


@dataclass(frozen=True)
class RandomBlock:
    """The block's numbers, shared by all samples of a batch and by all repeats, on the CPU.

    Attributes:
        weight: float32 [C, C, *kernel].
        offsets: float32 [taps, axes, *spatial] in pixels, or None for an ordinary convolution.
        gamma: float32 [C], gain after normalisation.
        beta: float32 [C], shift after normalisation.
        repeats: how often the block is applied, at least 1.
    """

    weight: Tensor
    offsets: Tensor | None
    gamma: Tensor
    beta: Tensor
    repeats: int

    def __call__(self, x: Tensor) -> Tensor:
        """Repeat x <- tanh(gamma * InstanceNorm(convolution(x)) + beta), zeros outside the image.

        Returns a new tensor like ``x`` with values in [-1, 1]. The normalisation is per sample and channel, without
        learned parameters.
        """
        weight, gamma, beta = (part.to(x.device) for part in (self.weight, self.gamma, self.beta))
        offsets = None if self.offsets is None else self.offsets.to(x.device)
        gamma, beta = (part.view(-1, *(1,) * (x.dim() - 2)) for part in (gamma, beta))
        conv = F.conv2d if x.dim() == 4 else F.conv3d
        for _ in range(self.repeats):
            h = conv(x, weight, padding=KERNEL_SIZE // 2) if offsets is None else deform_conv(x, weight, offsets)
            x = F.layer_norm(h, h.shape[2:]).mul_(gamma).add_(beta).tanh_()
        return x


@register("prorandconv")
class ProRandConv(Augmentation[RandomBlock]):
    """Repeat one random block up to ``max_layers`` times: deformable convolution, normalisation, affine map, tanh.

    A batch shares all random numbers (original):

    * kernel of 3 pixels an axis: normal weights with variance 1 / (channels * 3^axes), multiplied by a Gaussian bell
      exp(-r^2 / (2 s^2)) with s uniform in [1e-4, 1];
    * offsets: for each kernel tap and axis a smooth Gaussian random field (see
      :func:`~fedgin.augment.filters.gaussian_field.gaussian_field`), times a normal number, times one deviation that is
      uniform in [1e-4, ``offset_bound``];
    * gain and shift per channel: normal with deviation 0.5;
    * number of repeats: uniform from 1 to ``max_layers``.

    The method is defined on images in [-1, 1], while our slices are z-scored. So every view and every image at
    inference is mapped linearly from its own minimum and maximum to [-1, 1] (ours), and the network never sees anything
    else. Calling the augmentation itself expects such images.

    Args:
        max_layers: L, at least 1; the paper draws up to 10, our default of 5 halves the time on a CPU and keeps more of
            the image's structure.
        gamma_min: gains are redrawn until they are at least this large, in [0, 1]; 0 is the original, which gives
            nearly flat images now and then.
        offset_bound: the largest offset in pixels; nothing means the paper's 0.2 if the image's shortest side is below
            128 pixels, 0.5 otherwise.
        deform: false leaves the offsets out (ours); it saves most of the time, in 3D above all.
        partner: ``clean`` (original): train on the clean image too, with the sum of both losses; or ``none``.
        probability: see :class:`fedgin.augment.base.Augmentation`.
        background: see :class:`fedgin.augment.base.Augmentation`.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> import torch
        >>> from fedgin.augment import build_augmentation
        >>> slices = 2.0 * torch.rand(2, 1, 64, 64) - 1.0
        >>> shown = build_augmentation("prorandconv", max_layers=3)(slices, gen=torch.Generator().manual_seed(1))
        >>> bool(shown.abs().max() < 1.0)  # the block ends with tanh
        True
    """

    def __init__(
        self,
        *,
        max_layers: int = 5,
        gamma_min: float = 0.0,
        offset_bound: float | None = None,
        deform: bool = True,
        partner: str = "clean",
        probability: float = 1.0,
        background: str = "free",
    ) -> None:
        super().__init__(probability=probability, background=background)
        self.max_layers = check_count("max_layers", max_layers)
        self.gamma_min = check_number("gamma_min", gamma_min, low=0.0, high=1.0)
        given = offset_bound is not None
        self.offset_bound = check_number("offset_bound", offset_bound, low=_SMALLEST, high=10.0) if given else None
        self.deform = check_flag("deform", deform)
        self.partner = check_choice("partner", partner, ("none", "clean"))
        self.supervised_views = 1 if partner == "none" else 2

    def views(self, image: Tensor, *, gen: torch.Generator, body: Tensor | None = None) -> list[Tensor]:
        """Return the image in [-1, 1], unless it is not trained on, and one draw."""
        augmented = super().views(image, gen=gen, body=body)
        return augmented if self.partner == "none" else [self.at_inference(image), *augmented]

    def drawn_from(self, image: Tensor) -> Tensor:
        """Return the image in [-1, 1]."""
        return to_range(image, -1.0, 1.0)

    def at_inference(self, image: Tensor) -> Tensor:
        """Return the same."""
        return self.drawn_from(image)

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> RandomBlock:
        """Draw kernel, offsets, gain, shift and the number of repeats."""
        channels, spatial = shape[1], shape[2:]
        return RandomBlock(
            weight=_draw_kernel(channels, len(spatial), gen),
            offsets=self._draw_offsets(spatial, gen) if self.deform else None,
            gamma=self._draw_gamma(channels, gen),
            beta=_AFFINE_STD * torch.randn(channels, generator=gen),
            repeats=int(torch.randint(1, self.max_layers + 1, (), generator=gen)),
        )

    def transform(self, x: Tensor, params: RandomBlock) -> Tensor:
        """Return ``x`` after all repeats of the block."""
        return params(x)

    def _draw_offsets(self, spatial: Sequence[int], gen: torch.Generator) -> Tensor:
        default = _OFFSET_BOUNDS[min(spatial) >= _LARGE]
        deviation = _draw_deviation(self.offset_bound or default, gen)
        taps, axes = KERNEL_SIZE ** len(spatial), len(spatial)
        size = deviation * torch.randn(taps, axes, *(1,) * axes, generator=gen)
        fields = gaussian_field(taps * axes, spatial, exponent=_FIELD_EXPONENT, gen=gen)
        return size * fields.view(taps, axes, *spatial)

    def _draw_gamma(self, channels: int, gen: torch.Generator) -> Tensor:
        gamma = _AFFINE_STD * torch.randn(channels, generator=gen)
        while bool((small := gamma.abs() < self.gamma_min).any()):
            gamma[small] = _AFFINE_STD * torch.randn(int(small.sum()), generator=gen)
        return gamma


def _draw_kernel(channels: int, axes: int, gen: torch.Generator) -> Tensor:
    width = _draw_deviation(1.0, gen)
    taps = product((-1, 0, 1), repeat=axes)
    bell = torch.tensor([math.exp(-sum(i * i for i in tap) / (2 * width * width)) for tap in taps])
    normal = torch.randn(channels, channels, *(KERNEL_SIZE,) * axes, generator=gen)
    return normal * bell.view(normal.shape[2:]) / math.sqrt(channels * len(bell))


def _draw_deviation(bound: float, gen: torch.Generator) -> float:
    """Draw uniformly from [1e-4, bound]."""
    return _SMALLEST + (bound - _SMALLEST) * float(torch.rand((), generator=gen))

"""Global intensity non-linear augmentation (GIN).

Source: Ouyang et al., "Causality-inspired single-source domain generalization for medical image segmentation", IEEE
TMI 2022, arXiv 2111.12525. Kernels shared by the whole batch are the variant found in the FedGIN authors' code.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedgin.augment.checks import check_choice, check_count, check_flag, check_interval, check_number
from fedgin.augment.filters.mixing import match_norm_, mix_at_norm_
from fedgin.augment.filters.random_conv import PADDINGS, ConvLayer, random_conv_net
from fedgin.augment.partners import PartneredAugmentation
from fedgin.augment.registry import register
from fedgin.errors import ConfigError

SHARINGS = ("sample", "batch")


@dataclass(frozen=True)
class GINParams:
    """The random network and how much of it is mixed in.

    Attributes:
        layers: the network's weights, standard normal, on the CPU.
        alpha: float32 [B]; weight of the network's output, the rest is the image.
    """

    layers: tuple[ConvLayer, ...]
    alpha: Tensor


@register("gin")
class GIN(PartneredAugmentation[GINParams]):
    """Give every image a random texture and contrast with a small random network, keeping shapes and total energy.

    For each sample: g = random network(x), m = alpha * g + (1 - alpha) * x, result = m * ||x|| / (||m|| + 1e-5) with
    norms over all channels and pixels. The weights are standard normal, unscaled, never learned and drawn anew on
    every call. Because g is usually several times larger than x, the result is closer to g than alpha suggests.

    Args:
        layers: depth n of the random network.
        hidden_channels: width c of its inner layers.
        kernel_sizes: pool from which each layer draws its (odd) size, once for the whole batch. An entry is one
            integer for all axes or one integer per axis; ``[[1, 1, 1], [1, 3, 3], [3, 3, 3]]`` suits volumes with
            thick slices (an extension of ours).
        kernel_sharing: ``sample``: every sample has its own weights (original); ``batch``: all samples of a batch
            share them and only alpha differs (FedGIN authors' code).
        slope: the slope of the leaky ReLU between layers.
        alpha_range: alpha is uniform in this interval inside [0, 1].
        match_norm_before_mix: scale g to the norm of x before mixing, so that alpha is the real share (ours).
        partner: see :class:`fedgin.augment.partners.PartneredAugmentation`; ``none`` is FedGIN.
        consistency_weight: see :class:`fedgin.augment.partners.PartneredAugmentation`. The original's training has
            weight 10, three draws and a mean over classes too; 0 is FedGIN.
        consistency_ramp: see :class:`fedgin.augment.partners.PartneredAugmentation`.
        padding: ``reflect`` (our default; constant areas stay constant up to the border, see
            :func:`fedgin.augment.filters.random_conv.random_conv_net` for axes of size 1) or ``zeros`` (original).
        probability: see :class:`fedgin.augment.base.Augmentation`.
        background: see :class:`fedgin.augment.base.Augmentation`.

    Images may have any intensity unit. The result has the norm of the input but not its range: z-scored input can
    reach about -10 to +10.

    Raises:
        ConfigError: an argument is out of range, or a kernel size does not fit the number of axes of a batch.

    Example:
        >>> import torch
        >>> from fedgin.augment import build_augmentation
        >>> slices = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> gin = build_augmentation("gin")
        >>> shown = gin(slices, gen=torch.Generator().manual_seed(1))
        >>> bool(torch.allclose(shown.flatten(1).norm(dim=1), slices.flatten(1).norm(dim=1), rtol=1e-3))
        True
        >>> draw = gin.draw(slices.shape, gen=torch.Generator().manual_seed(1))  # the same numbers again
        >>> bool(torch.equal(gin.apply(slices, draw), shown))
        True
    """

    def __init__(
        self,
        *,
        layers: int = 4,
        hidden_channels: int = 2,
        kernel_sizes: Sequence[int | Sequence[int]] = (1, 3),
        kernel_sharing: str = "sample",
        slope: float = 0.01,
        alpha_range: Sequence[float] = (0.0, 1.0),
        match_norm_before_mix: bool = False,
        partner: str = "none",
        consistency_weight: float = 0.0,
        consistency_ramp: float = 0.0,
        padding: str = "reflect",
        probability: float = 1.0,
        background: str = "free",
    ) -> None:
        super().__init__(
            partner=partner,
            consistency_weight=consistency_weight,
            consistency_ramp=consistency_ramp,
            probability=probability,
            background=background,
        )
        self.layers = check_count("layers", layers)
        self.hidden_channels = check_count("hidden_channels", hidden_channels)
        self.kernel_sizes = _check_pool(kernel_sizes)
        self.kernel_sharing = check_choice("kernel_sharing", kernel_sharing, SHARINGS)
        self.slope = check_number("slope", slope, low=0.0, high=1.0)
        self.alpha_range = check_interval("alpha_range", alpha_range, low=0.0, high=1.0)
        self.match_norm_before_mix = check_flag("match_norm_before_mix", match_norm_before_mix)
        self.padding = check_choice("padding", padding, PADDINGS)

    def check_axes(self, axes: int) -> None:
        """Check that each kernel size is one number, or one for each axis."""
        for size in self.kernel_sizes:
            _per_axis(size, axes)

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> GINParams:
        """Draw kernel sizes, then weights and biases layer by layer, then alpha."""
        batch, channels, axes = shape[0], shape[1], len(shape) - 2
        pool = [_per_axis(size, axes) for size in self.kernel_sizes]
        kernels = [pool[i] for i in torch.randint(len(pool), (self.layers,), generator=gen).tolist()]
        widths = [channels, *[self.hidden_channels] * (self.layers - 1), channels]
        groups = batch if self.kernel_sharing == "sample" else 1
        layers = tuple(
            ConvLayer(
                weight=torch.randn(groups, c_out, c_in, *kernel, generator=gen),
                bias=torch.randn(groups, c_out, generator=gen),
            )
            for c_in, c_out, kernel in zip(widths[:-1], widths[1:], kernels, strict=True)
        )
        low, high = self.alpha_range
        return GINParams(layers=layers, alpha=low + (high - low) * torch.rand(batch, generator=gen))

    def transform(self, x: Tensor, params: GINParams) -> Tensor:
        """Return the mixture of ``x`` and the random network's output with the norm of ``x``."""
        out = self.run_network(x, params)
        if self.match_norm_before_mix:
            match_norm_(out, x)
        return mix_at_norm_(x, out, params.alpha)

    def run_network(self, x: Tensor, params: GINParams) -> Tensor:
        """Return the random network's output, a new tensor like ``x``."""
        return random_conv_net(x, params.layers, slope=self.slope, padding=self.padding)


def _check_pool(sizes: object) -> tuple[int | tuple[int, ...], ...]:
    """Return the kernel pool as integers and tuples, whatever mixture of lists YAML gave."""
    if not isinstance(sizes, Sequence) or isinstance(sizes, str) or not sizes:
        raise ConfigError(f"kernel_sizes is {sizes!r}", "give a list of odd kernel sizes, for example [1, 3]")
    return tuple(tuple(map(_check_odd, size)) if isinstance(size, list | tuple) else _check_odd(size) for size in sizes)


def _check_odd(size: object) -> int:
    checked = check_count("kernel_sizes", size)
    if checked % 2 == 0:
        raise ConfigError(f"kernel_sizes holds {size!r}", "use odd sizes, so that the output keeps the input's size")
    return checked


def _per_axis(size: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    kernel = size if isinstance(size, tuple) else (size,) * axes
    if len(kernel) != axes:
        raise ConfigError(
            f"kernel_sizes has {list(kernel)}, which does not fit images with {axes} axes",
            "give one size an axis, or one for all",
        )
    return kernel

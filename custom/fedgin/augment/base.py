"""The contract every appearance augmentation keeps: draw random numbers first, then apply them."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.backends import cudnn

from fedgin.augment.checks import check_choice, check_number
from fedgin.augment.hooks import TrainingHooks
from fedgin.errors import ConfigError, DataError

BACKGROUNDS = ("free", "keep", "constant")

# Below this standard deviation a sample has no appearance to change; augmenting it would only invent texture.
FLAT_STD = 1e-6

ParamsT = TypeVar("ParamsT")


@dataclass(frozen=True)
class Draw(Generic[ParamsT]):
    """Every random number of one call; applying it again gives the same images.

    Attributes:
        params: the numbers of the method itself.
        applied: bool [B]; samples that are augmented at all.
        background: float32 [B] in [0, 1); where between its minimum and maximum a sample's constant background lies.
    """

    params: ParamsT
    applied: Tensor
    background: Tensor

    @classmethod
    def for_all(cls, params: ParamsT, batch: int) -> "Draw[ParamsT]":
        """Return what applies ``params`` to each of ``batch`` samples: a chosen filter instead of a random one."""
        return cls(params, applied=torch.ones(batch, dtype=torch.bool), background=torch.zeros(batch))


class Augmentation(TrainingHooks, Generic[ParamsT]):
    """Change how an image looks, never where things are.

    A subclass gives :meth:`draw_params` and :meth:`transform`; this class adds what all methods share: per-sample
    probability, degenerate inputs, background policy, float32 arithmetic under mixed precision, and no gradient.
    A method that needs more than a changed image overrides hooks of
    :class:`~fedgin.augment.hooks.TrainingHooks`.

    Args:
        probability: chance in [0, 1] that a sample is augmented; each sample tosses its own coin.
        background: what happens outside the body. ``free``: it is augmented like the rest (as all original methods
            do); ``keep``: it stays as it was; ``constant``: it becomes one random value per sample, uniform between
            the sample's minimum and maximum. The last two need ``body`` and come after the method, so a norm that
            the method preserved holds only before them. (Both are ours, not part of the published methods.)

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(self, *, probability: float = 1.0, background: str = "free") -> None:
        self.probability = check_number("probability", probability, low=0.0, high=1.0)
        self.background = check_choice("background", background, BACKGROUNDS)
        self._fallbacks: int | Tensor = 0

    @property
    def fallbacks(self) -> int:
        """Number of samples given back unchanged because the method produced a non-finite value."""
        return int(self._fallbacks)

    @abstractmethod
    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> ParamsT:
        """Draw the method's own random numbers for a batch of ``shape``, on the CPU."""

    @abstractmethod
    def transform(self, x: Tensor, params: ParamsT) -> Tensor:
        """Return the augmented batch; ``x`` is float32, finite and must not be changed in place."""

    def draw(self, shape: Sequence[int], *, gen: torch.Generator) -> Draw[ParamsT]:
        """Draw all random numbers for a batch of ``shape`` [B, C, H, W] or [B, C, D, H, W] without seeing an image.

        ``gen`` is a CPU generator, so a draw is the same whichever device applies it.
        """
        if len(shape) not in (4, 5):
            raise DataError(f"a batch of shape {tuple(shape)}", "give [B, C, H, W] or [B, C, D, H, W]")
        params = self.draw_params(shape, gen=gen)
        applied = torch.rand(shape[0], generator=gen) < self.probability
        return Draw(params=params, applied=applied, background=torch.rand(shape[0], generator=gen))

    def views(self, image: Tensor, *, gen: torch.Generator, body: Tensor | None = None) -> list[Tensor]:
        """Return one augmented version of the batch; see :class:`~fedgin.augment.hooks.TrainingHooks`."""
        return [self(self.drawn_from(image), gen=gen, body=body)]

    def drawn_from(self, image: Tensor) -> Tensor:
        """Return what :meth:`views` applies a draw to: the image, unless the method is defined on another range."""
        return image

    def __call__(self, x: Tensor, *, gen: torch.Generator, body: Tensor | None = None) -> Tensor:
        """Draw and apply in one step; see :meth:`apply` for shapes and errors."""
        return self.apply(x, self.draw(x.shape, gen=gen), body=body)

    @torch.no_grad()
    def apply(self, x: Tensor, draw: Draw[ParamsT], *, body: Tensor | None = None) -> Tensor:
        """Return ``x`` augmented with the numbers of ``draw``, as a plain tensor without gradient.

        Args:
            x: floating point [B, C, H, W] or [B, C, D, H, W], any intensity unit, finite.
            draw: what :meth:`draw` gave for this batch shape.
            body: bool [B, 1, *spatial], true inside the patient; needed for ``background`` keep and constant.

        Returns:
            A tensor of the shape, dtype and device of ``x``. Samples with a standard deviation below 1e-6 (all-zero
            images among them) come back unchanged, as do samples that would become non-finite, which are counted.

        Raises:
            DataError: ``x`` is not floating point, is not finite, or does not fit the draw or the body mask.
            ConfigError: the background policy needs a body mask and none was given.
        """
        plain = x.as_subclass(Tensor)
        self._check_fit(plain, draw, body)
        # A z-scored 256 x 256 slice has a sum of squares of 65,536, which float16 cannot hold.
        with torch.autocast(plain.device.type, enabled=False), _whole_float32():
            image = plain.float()
            chosen = draw.applied.to(image.device) & ~_flat_samples(image)
            out = self._with_background(image, self.transform(image, draw.params), draw, body).to(plain.dtype)
        return self._keep_sane(plain, out, chosen)

    def _check_fit(self, x: Tensor, draw: Draw[ParamsT], body: Tensor | None) -> None:
        if not x.is_floating_point():
            raise DataError(f"image tensor has dtype {x.dtype}", "convert images to float32 before augmenting")
        if x.shape[0] != draw.applied.shape[0]:
            raise DataError(f"{draw.applied.shape[0]} samples were drawn, {x.shape[0]} given", "draw for this batch")
        if self.background == "free":
            return
        if body is None:
            raise ConfigError(f"background={self.background} needs a body mask", "pass body or choose background=free")
        if body.dtype != torch.bool or body.shape != (x.shape[0], 1, *x.shape[2:]):
            raise DataError(
                f"body mask is {body.dtype} {tuple(body.shape)}", "give bool [B, 1, *spatial] like the image"
            )

    def _with_background(self, x: Tensor, out: Tensor, draw: Draw[ParamsT], body: Tensor | None) -> Tensor:
        if self.background == "free" or body is None:
            return out
        inside = body.as_subclass(Tensor).to(x.device)
        if self.background == "keep":
            return torch.where(inside, out, x)
        low, high = sample_range(x)
        return torch.where(inside, out, torch.lerp(low, high, per_sample(draw.background.to(x.device), x.dim())))

    def _keep_sane(self, x: Tensor, out: Tensor, chosen: Tensor) -> Tensor:
        # A sum is finite only if every term is; it reads the image once and stores no mask.
        finite = out.flatten(1).sum(1, dtype=torch.float32).isfinite()
        self._fallbacks = self._fallbacks + (chosen & ~finite).sum()
        use = chosen & finite
        # To ask a GPU whether all are sane would take longer than the choice: it waits for the step before.
        unchanged = use.device.type == "cpu" and bool(use.all())
        return out if unchanged else torch.where(per_sample(use, x.dim()), out, x)


def _whole_float32() -> AbstractContextManager[None]:
    """Keep cuDNN's convolutions from TF32 with its ten bits, so that a GPU gives what the CPU gives."""
    kept = {name: getattr(cudnn, name) for name in ("enabled", "benchmark", "benchmark_limit", "deterministic")}
    settings: AbstractContextManager[None] = cudnn.flags(**kept, allow_tf32=False)
    return settings


def per_sample(values: Tensor, ndim: int) -> Tensor:
    """Reshape [B] to [B, 1, 1, ...] with ``ndim`` axes, so that it broadcasts over a batch."""
    return values.view(-1, *(1,) * (ndim - 1))


def sample_range(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest value of each sample over channels and pixels, to broadcast over ``x``."""
    rows = x.flatten(1)
    return per_sample(rows.amin(1), x.dim()), per_sample(rows.amax(1), x.dim())


def _flat_samples(x: Tensor) -> Tensor:
    """Return bool [B]: samples too flat to augment.

    Raises:
        DataError: an image is not finite. Not on a GPU, which would have to be waited for: there the sample stays as it
            is, and the loss of the round says so.
    """
    rows = x.flatten(1)
    if x.device.type != "cpu":
        return rows.std(1, correction=0) < FLAT_STD
    spread = rows.amax(1) - rows.amin(1)
    if not bool(spread.isfinite().all()):
        bad = (~spread.isfinite()).nonzero().flatten().tolist()
        raise DataError(f"image samples {bad} of the batch hold NaN or infinity", "check preprocessing of these cases")
    # n values that spread over r have a standard deviation of at least r / sqrt(2 n). That settles almost every image
    # for a tenth of the price of Tensor.std, which is a scalar loop on the CPU.
    flat = spread < FLAT_STD * math.sqrt(2 * rows.shape[1])
    for sample in flat.nonzero().flatten().tolist():
        flat[sample] = bool(rows[sample].std(correction=0) < FLAT_STD)
    return flat

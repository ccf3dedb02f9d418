"""What a network sees of a test case in training: draws of the look of a slice."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fedgin.augment import Augmentation
from fedgin.augment.base import Draw
from fedgin.augment.draws import draw_to_text
from fedgin.augment.hooks import Guide, TrainingHooks
from fedgin.augment.quality import QualityFilter
from fedgin.data.cache import CachedCase
from fedgin.data.validation.thumbnail import to_grey, upright
from fedgin.report.overlays import PIXELS, Panel, busiest
from fedgin.seeds import make_generator

# z-scored intensities from black to white.
DISPLAY_LIMIT = 2.5
# Percentiles of the values that are looked at for it; few pixels may be far off.
INNERMOST = (1.0, 99.0)
# A draw with more numbers than this is named by its seed alone.
LONGEST_NUMBERS = 20_000


class _ShownView(TrainingHooks):
    """The one view of a method that is shown, and the draws that made it.

    Attributes:
        draws: one, and one more for each that a filter refused.
    """

    def __init__(self, augmentation: Augmentation[Any]) -> None:
        self.augmentation = augmentation
        self.draws: list[Draw[Any]] = []

    def views(self, image: Tensor, *, gen: torch.Generator, body: Tensor | None = None) -> list[Tensor]:
        """Return the image with a further draw; see :class:`TrainingHooks`."""
        source = self.augmentation.drawn_from(image)
        self.draws.append(self.augmentation.draw(tuple(source.shape), gen=gen))
        return [self.augmentation.apply(source, self.draws[-1], body=body)]

    def at_inference(self, image: Tensor) -> Tensor:
        """Return what the method shows a network that segments."""
        return self.augmentation.at_inference(image)


def show_draws(
    case: CachedCase, augmentation: Augmentation[Any], *, quality: bool, seed: int, draws: int
) -> list[Panel]:
    """Draw augmented versions of what a network is trained on of a case, each with the numbers that replay it.

    Of a volume that is the part of a patch's depth around the slice with most organs, which is shown.

    Args:
        case: the case.
        augmentation: changes its look.
        quality: whether what the quality filter refuses is drawn again, as in training. Of a method with several views
            it judges the one that is shown.
        seed: of the draws.
        draws: how many to show.
    """
    image, label, body, place = _seen(case)
    shown: list[tuple[Tensor, str, str]] = []
    for number in range(1, draws + 1):
        names = (seed, case.case.modality.value, number, "report")
        view = _ShownView(augmentation)
        judged = QualityFilter(view) if quality else None
        guide = Guide(label, gradient=torch.zeros_like)
        [drawn] = (judged or view).guided_views(image, guide, gen=make_generator(*names), body=body)
        refused = len(view.draws) if judged and judged.refused == 1.0 else len(view.draws) - 1
        shown.append((drawn[0, 0][place], _note(view.draws, refused), _numbers(view.draws, refused, names)))
    limits = _draw_limits(augmentation.at_inference(image), [picture for picture, _, _ in shown])
    return [
        Panel(f"draw {number}", _grey(picture, limits), note, numbers)
        for number, (picture, note, numbers) in enumerate(shown, start=1)
    ]


def _note(draws: Sequence[Draw[Any]], refused: int) -> str:
    """Say how strong a draw is, and how many were refused before it."""
    alpha = getattr(draws[-1].params, "alpha", None)
    said = [f"alpha {float(alpha[0]):.2f}"] if isinstance(alpha, Tensor) else []
    if refused == len(draws):
        said = ["the image as it is"]
    if refused:
        said.append(f"after {refused} refused draw{'' if refused == 1 else 's'}")
    return ", ".join(said)


def _numbers(draws: Sequence[Draw[Any]], refused: int, names: tuple[object, ...]) -> str:
    if refused == len(draws):
        return "none: every draw was refused"
    numbers = draw_to_text(draws[-1])
    if len(numbers) <= LONGEST_NUMBERS:
        return numbers
    which = f"draw {len(draws)} of" if refused else "drawn anew by"
    return f"{len(numbers)} letters; {which} make_generator{names}"


def _draw_limits(shown: Tensor, pictures: Sequence[Tensor]) -> tuple[float, float]:
    """Return what is shown as black and as white in all draws of a case, so that a flat one stays flat.

    Where a network is shown z-scores when it segments, it is trained on such, too, however a draw changes them. Where
    its images lie closer together, by the preprocessing or by the method, the limits are those of the draws.

    Args:
        shown: the image as the network is shown it when it segments.
        pictures: the slice of each draw.
    """
    low, high = np.percentile(shown.numpy(), INNERMOST)
    if high - low > DISPLAY_LIMIT:
        return -DISPLAY_LIMIT, DISPLAY_LIMIT
    low, high = np.percentile(torch.stack(list(pictures)).numpy(), INNERMOST)
    return float(low), float(high)


def _seen(case: CachedCase) -> tuple[Tensor, Tensor, Tensor, tuple[int, ...]]:
    """Return image, label and body [1, 1, *spatial] of the part of a case that is drawn, and where the slice is."""
    labels = case.read("label").numpy()
    index = busiest(labels, len(case.organs))
    part: int | slice = index
    place: tuple[int, ...] = ()
    if len(case.window) == 3:
        depth = case.window[0]
        first = max(0, min(index - depth // 2, len(labels) - depth))
        part, place = slice(first, first + depth), (index - first,)
    image, label, body = (case.read(name, part)[None, None] for name in ("image", "label", "body"))
    return image, label, body, place


def _grey(image: Tensor, limits: tuple[float, float]) -> Image.Image:
    """Show a slice [X, Y] as a network sees it."""
    picture = Image.fromarray(to_grey(upright(image.numpy()), limits))
    scale = PIXELS / max(picture.size)
    size = (round(scale * picture.width), round(scale * picture.height))
    return picture.resize(size, Image.Resampling.BICUBIC).convert("RGB")

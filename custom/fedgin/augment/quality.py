"""Refuse draws that erase what there is to segment: draw again, and show the clean image if no draw will do.

The score is ours. It looks at nothing but which of two pixels is the brighter one, so a change of grey values that
keeps their order never lowers it, however steep it is.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.hooks import Guide, TrainingHooks

# Calibrated on real CT and MR slices of 2.8 mm: draws that a reader would still segment score more (docs/study.md).
LEAST = 0.5
REDRAWS = 3
# Pixels are compared so many apart, along each axis: across the edge of an organ, not within it.
_APART = 3
# Side of the cells in which a draw may turn dark to bright, in pixels; in the next cell it may leave them as they were.
_CELL = 8
_POOLS = {2: F.avg_pool2d, 3: F.avg_pool3d}


def kept_structure(image: Tensor, view: Tensor, label: Tensor, body: Tensor) -> Tensor:
    """Return how much of the structure of each image is left in its view.

    It is the smaller of two shares. *Orientation*: of the gradients inside the body, those whose direction is the same
    or the opposite throughout a cell. *Contrast*: of the organ of which least is left, how consistently it is brighter
    or darker than its surroundings in each cell, in relation to the image. Noise scores about 0.2, a constant 0.

    Args:
        image: float32 [B, 1, *spatial], clean.
        view: like ``image``.
        label: integer [B, 1, *spatial]; 0 where no organ is labelled, organs among it that the site does not label.
        body: bool [B, 1, *spatial].

    Returns:
        float32 [B] from 0 to 1; 1 after any change that keeps the order of grey values, or inverts it. An image without
        a gradient or an organ that cannot be seen in it has nothing to lose: 1.
    """
    return torch.minimum(_orientation(image, view, body), _contrast(image, view, label)).clamp_max(1.0)


class QualityFilter:
    """The views of a method, of which those that score less than half are drawn again, up to three times.

    A sample is redrawn with all its views. If the last draw is refused too, each of them is the image as the network is
    shown it when it segments.

    Args:
        method: whose views are judged.
    """

    def __init__(self, method: TrainingHooks) -> None:
        self.method = method
        self._judged, self._refused = 0, 0

    @property
    def refused(self) -> float:
        """Share of the draws so far that were refused, redraws among them; 0 before the first."""
        return self._refused / max(1, self._judged)

    def guided_views(self, image: Tensor, guide: Guide, *, gen: torch.Generator, body: Tensor) -> list[Tensor]:
        """Return the views of a batch [B, 1, *spatial]; see :class:`fedgin.augment.hooks.TrainingHooks`.

        Where nothing is refused they are those of the method, from the same random numbers.
        """
        views = self.method.guided_views(image, guide, gen=gen, body=body)
        rows = self._refuse(torch.arange(len(image), device=image.device), image, views, guide.label, body)
        for _ in range(REDRAWS):
            if not len(rows):
                break
            again = self.method.guided_views(image[rows], _guide_of(rows, image, guide), gen=gen, body=body[rows])
            views = [view.index_copy(0, rows, drawn) for view, drawn in zip(views, again, strict=True)]
            rows = self._refuse(rows, image, again, guide.label, body)
        return self.method.show_clean(views, image, rows)

    def _refuse(self, rows: Tensor, image: Tensor, views: Sequence[Tensor], label: Tensor, body: Tensor) -> Tensor:
        """Return the rows of which a view is refused; ``views`` are of these rows alone."""
        shown = image[rows].float()
        scores = [kept_structure(shown, view.float(), label[rows], body[rows]) for view in views]
        refused = rows[torch.stack(scores).amin(0) < LEAST]
        self._judged += len(rows)
        self._refused += len(refused)
        return refused


def _guide_of(rows: Tensor, image: Tensor, guide: Guide) -> Guide:
    """Return the guide of some samples; their gradient is that in the whole batch, over which losses are taken."""
    return Guide(guide.label[rows], lambda shown: guide.gradient(image.index_copy(0, rows, shown))[rows])


def _orientation(image: Tensor, view: Tensor, body: Tensor) -> Tensor:
    agreeing, gradients = torch.zeros_like(image), torch.zeros_like(image)
    for axis in range(2, image.dim()):
        inside = _near(body, axis) & _far(body, axis)
        before = (_far(image, axis) - _near(image, axis)).mul_(inside)
        after = (_far(view, axis) - _near(view, axis)).sign_()
        _near(agreeing, axis).addcmul_(before, after)
        _near(gradients, axis).add_(before.abs_())
    most = _cell_sums(gradients).sum(1)
    return torch.where(most > 0, _cell_sums(agreeing).abs().sum(1) / most, 1.0)


def _contrast(image: Tensor, view: Tensor, label: Tensor) -> Tensor:
    """Compare each pixel of an organ with one beside the organ; add up the signs by sample, cell and organ."""
    classes, pixels, shape = int(label.max()) + 1, label[0].numel(), label.shape[2:]
    places, cells = _cell_numbers(shape, label.device)
    signs = torch.zeros(len(label) * cells * classes, 2, device=label.device)
    before, after, organs = image.flatten(), view.flatten(), label.flatten()
    for axis in range(2, label.dim()):
        edge = torch.zeros_like(label, dtype=torch.bool)
        _near(edge, axis).copy_(_near(label, axis) != _far(label, axis))
        near = edge.flatten().nonzero()[:, 0]
        far = near + _APART * math.prod(label.shape[axis + 1 :])
        rise = torch.stack([(values[far] - values[near]).sign() for values in (before, after)], dim=1)
        place = (near.div(pixels, rounding_mode="floor") * cells + places[near % pixels]) * classes
        signs.index_add_(0, place + organs[near], -rise)
        signs.index_add_(0, place + organs[far], rise)
    by_organ = signs.view(len(label), cells, classes, 2).abs().sum(1)[:, 1:]
    least = torch.where(by_organ[..., 0] > 0, by_organ[..., 1] / by_organ[..., 0], 1.0)
    return F.pad(least, [1, 0], value=1.0).amin(1)


def _cell_numbers(shape: Sequence[int], device: torch.device) -> tuple[Tensor, int]:
    """Return the number of the cell of each pixel of an image, int64 [pixels], and how many cells there are."""
    numbers, count = torch.zeros(1, dtype=torch.int64, device=device), 1
    for size in shape:
        along = torch.arange(size, device=device).div(_CELL, rounding_mode="floor")
        cells = -(-size // _CELL)
        numbers, count = (numbers[:, None] * cells + along).flatten(), count * cells
    return numbers, count


def _near(values: Tensor, axis: int) -> Tensor:
    return values.narrow(axis, 0, max(0, values.shape[axis] - _APART))


def _far(values: Tensor, axis: int) -> Tensor:
    size = values.shape[axis]
    return values.narrow(axis, min(size, _APART), max(0, size - _APART))


def _cell_sums(values: Tensor) -> Tensor:
    """Return the sums over cells, [B, cells]."""
    size = [min(_CELL, side) for side in values.shape[2:]]
    return _POOLS[len(size)](values, size, ceil_mode=True, divisor_override=1).flatten(1)

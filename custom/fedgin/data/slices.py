"""Training slices: all of the cached cases, and a balanced, reproducible order of them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Sampler

from fedgin.data.cache import CachedCase
from fedgin.data.turns import in_turn
from fedgin.errors import DataError


@dataclass(frozen=True)
class SliceIndex:
    """One slice: which case it is of, where it lies there, and the numbers of the organs that it shows."""

    case: CachedCase
    position: int
    shows: tuple[int, ...]

    @property
    def slices(self) -> range:
        """The slice itself."""
        return range(self.position, self.position + 1)

    def read(self, name: str) -> Tensor:
        """Read ``image``, ``label`` or ``body`` [X, Y]."""
        return self.case.read(name, self.position)


def slices_of(cases: Sequence[CachedCase]) -> list[SliceIndex]:
    """Return all slices of the given cases."""
    return [SliceIndex(case, position, shows) for case in cases for position, shows in enumerate(case.shown)]


def whole_passes(
    slices: Sequence[SliceIndex], batch_size: int, passes: int, generator: torch.Generator
) -> list[list[int]]:
    """Deal every slice once a pass, each pass in another drawn order; the last batch of a pass has what is left.

    Raises:
        DataError: there are no slices.
    """
    if not slices:
        raise DataError("there is no training slice", "list at least one training case with a labelled organ")
    orders = [torch.randperm(len(slices), generator=generator).tolist() for _ in range(passes)]
    return [order[start : start + batch_size] for order in orders for start in range(0, len(order), batch_size)]


class BalancedBatches(Sampler[list[int]]):
    """A fixed number of batches in which a fixed share of the slices shows an organ.

    Organs take turns, however few slices show them, and so do the slices that show an organ: else a small organ, which
    few slices show, would hardly be seen. Slices without an organ take turns too. Where there are none of one kind, the
    other has its places.

    Args:
        slices: all slices.
        batch_size: slices in a batch.
        batches: how many batches to deal.
        foreground_share: share of the slices that show an organ, in [0, 1].
        generator: the randomness; equal generators give equal batches.

    Raises:
        DataError: there are no slices.
    """

    def __init__(
        self,
        slices: Sequence[SliceIndex],
        *,
        batch_size: int,
        batches: int,
        foreground_share: float,
        generator: torch.Generator,
    ) -> None:
        if not slices:
            raise DataError("there is no training slice", "list at least one training case with a labelled organ")
        self.without_organ = [index for index, entry in enumerate(slices) if not entry.shows]
        self.by_organ: dict[int, list[int]] = {}
        for index, entry in enumerate(slices):
            for number in entry.shows:
                self.by_organ.setdefault(number, []).append(index)
        self.batch_size = batch_size
        self.batches = batches
        self.foreground_share = foreground_share
        self.generator = generator

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        """Deal the batches."""
        organ, empty = self._slices_by_organ(), in_turn(self.without_organ, self.generator)
        dealt = 0
        for batch in range(1, self.batches + 1):
            wanted = self._organ_slices(batch) - dealt
            dealt += wanted
            yield [next(organ) for _ in range(wanted)] + [next(empty) for _ in range(self.batch_size - wanted)]

    def _organ_slices(self, batches: int) -> int:
        """Return how many slices with an organ the first batches have: the share is kept over them, not in each."""
        slices = batches * self.batch_size
        if not self.without_organ:
            return slices
        if not self.by_organ:
            return 0
        return math.floor(slices * self.foreground_share + 0.5)

    def _slices_by_organ(self) -> Iterator[int]:
        slices = {number: in_turn(members, self.generator) for number, members in self.by_organ.items()}
        for number in in_turn(sorted(slices), self.generator):
            yield next(slices[number])

"""Training patches of volumes: where they lie is drawn before a round, by organ and by background."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedgin.data.cache import CachedCase
from fedgin.data.turns import in_turn
from fedgin.errors import DataError


@dataclass(frozen=True)
class Patch:
    """A box of a case's volume.

    Attributes:
        case: the case.
        start: its first voxel, (D, X, Y); below 0 where the volume is smaller than the patch, which it then fills from
            the middle.
    """

    case: CachedCase
    start: tuple[int, int, int]

    @property
    def slices(self) -> range:
        """The slices of the case that it shows."""
        return range(max(self.start[0], 0), min(self.start[0] + self.case.window[0], self.case.shape[0]))

    def read(self, name: str) -> Tensor:
        """Read ``image``, ``label`` or ``body`` [D, X, Y]; what lies beyond the volume is continued with its border."""
        shape = self.case.shape
        ends = [(first, first + side) for first, side in zip(self.start, self.case.window, strict=True)]
        inside = tuple(slice(max(first, 0), min(last, n)) for (first, last), n in zip(ends, shape, strict=True))
        values = self.case.read(name, inside)
        for axis, (first, last) in enumerate(ends):
            if values.shape[axis] < last - first:
                values = values.index_select(axis, torch.arange(first, last).clamp(0, values.shape[axis] - 1))
        return values


def draw_patches(
    cases: Sequence[CachedCase], count: int, *, foreground_share: float, generator: torch.Generator
) -> list[Patch]:
    """Draw where the patches of a round lie.

    Each is centred on a voxel of a class, as far as it then lies inside the volume: in the asked share on an organ,
    else on background. Organs take turns, whatever their size, and so do the cases that show an organ.

    Args:
        cases: the training cases.
        count: how many patches.
        foreground_share: share of the patches that are centred on an organ, in [0, 1]; over the round it is kept to one
            patch. Where there is no organ, or no background, all are centred on the other.
        generator: the randomness; equal generators give equal patches.

    Raises:
        DataError: there is no case.
    """
    if not cases:
        raise DataError("there is no training case", "list at least one training case with a labelled organ")
    places = _by_class(cases)
    organs = in_turn([number for number in places if number], generator)
    turns = {number: in_turn(list(members), generator) for number, members in places.items()}
    share = foreground_share if 0 in places else 1.0
    if len(places) == 1:
        share = 0.0 if 0 in places else 1.0
    offset = float(torch.rand(1, generator=generator))
    patches = []
    for index in range(count):
        on_organ = int((index + 1) * share + offset) > int(index * share + offset)
        number = next(organs) if on_organ else 0
        case = next(turns[number])
        patches.append(Patch(cases[case], _start(cases[case], places[number][case], generator)))
    return patches


def _by_class(cases: Sequence[CachedCase]) -> dict[int, dict[int, Tensor]]:
    """Return the places [N, 3] by class, then by the case's position."""
    found: dict[int, dict[int, Tensor]] = {}
    for position, case in enumerate(cases):
        rows = case.read("places")
        for number in set(rows[:, 0].tolist()):
            found.setdefault(number, {})[position] = rows[rows[:, 0] == number, 1:]
    return dict(sorted(found.items()))


def _start(case: CachedCase, places: Tensor, generator: torch.Generator) -> tuple[int, int, int]:
    centre = places[int(torch.randint(len(places), (1,), generator=generator))].tolist()
    d, x, y = (
        min(max(middle - side // 2, 0), n - side) if n >= side else -((side - n) // 2)
        for middle, side, n in zip(centre, case.window, case.shape, strict=True)
    )
    return d, x, y

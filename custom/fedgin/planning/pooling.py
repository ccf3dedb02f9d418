"""Percentiles of the cases of all sites together, of which each site shares a few percentiles of its own.

A site's cases are taken to lie evenly between the percentiles that it shares, and beyond the outermost ones at these.
Every site counts by its number of cases. All is counted in whole numbers, so the order of the sites changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# A site's distribution is taken at so many steps: at every half percent.
STEPS = 199


@dataclass(frozen=True)
class Shared:
    """Percentiles of a group of cases.

    Attributes:
        percentiles: by names such as ``p50``.
        cases: how many the group has.
    """

    percentiles: Mapping[str, float]
    cases: int

    def values(self) -> list[float]:
        """Return the group's values at each of :data:`STEPS`, ascending."""
        known = np.array(sorted((float(name[1:]), value) for name, value in self.percentiles.items()))
        steps = np.arange(1, STEPS + 1) * (100.0 / (STEPS + 1))
        return [float(value) for value in np.interp(steps, known[:, 0], known[:, 1])]

    def largest(self) -> float:
        """Return the highest percentile that is shared."""
        return max(self.percentiles.values())


def pool(groups: Sequence[Shared], percentile: float) -> float:
    """Return a percentile, 0 to 100, of all cases of one group or more."""
    weighted = sorted((value, group.cases) for group in groups for value in group.values())
    total, counted = sum(cases for _, cases in weighted), 0
    for value, cases in weighted:
        counted += cases
        if 100 * counted >= percentile * total:
            return value
    return weighted[-1][0]

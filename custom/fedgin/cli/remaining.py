"""How long it still takes: one estimate and one way to say it, for every verb that waits."""

import math
import time
from collections.abc import Callable


class RemainingTime:
    """Estimates the time that is left from the steps done, such as rounds.

    The first step that is counted is left out of the estimate: it contains the start of what runs.

    Args:
        total: number of steps, with those that an earlier run did.
        clock: seconds.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self._clock = clock
        self._ends: list[float] = []

    def step(self, done: int | None = None) -> float:
        """Count a step that is done; return the seconds that are left, or NaN while nobody can tell.

        Args:
            done: how many of all steps are done now; by default as many as were counted.
        """
        self._ends.append(self._clock())
        counted = len(self._ends)
        if counted < 2:
            return math.nan
        rest = max(0, self.total - (counted if done is None else done))
        return (self._ends[-1] - self._ends[0]) / (counted - 1) * rest


def left(seconds: float) -> str:
    """Say it: ``about 40 s left``, ``about 12 min left``; nothing for NaN, or when nothing is left."""
    return f"about {duration(seconds)} left" if seconds > 0 else ""


def duration(seconds: float) -> str:
    """Say how long something takes, in the unit that fits: ``40 s``, ``12 min``, ``5 h``, ``3 days``."""
    for unit, size in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < 90 * size:
            return f"{math.ceil(seconds / size)} {unit}"
    return f"{math.ceil(seconds / 86400)} days"

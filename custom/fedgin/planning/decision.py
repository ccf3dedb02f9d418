"""A line of a plan: what was decided, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

# Where a rule is from.
NNUNET = "Isensee 2021"
HERE = "fedgin"


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        key: what it is about; the key of ``experiment.yaml`` where there is one.
        value: as people read it.
        reason: the numbers that it rests on.
        source: of the rule.
    """

    key: str
    value: str
    reason: str
    source: str


def numbers(values: Sequence[float]) -> str:
    """Return numbers as a size is written: ``1.5 x 1.5 x 3``."""
    return " x ".join(f"{value:.4g}" for value in values)

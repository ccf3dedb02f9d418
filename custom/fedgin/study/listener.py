"""Who is told how far a study is."""

from collections.abc import Sequence
from typing import Protocol

from fedgin.study.plan import ArmSpec

Point = dict[str, float]


class StudyListener(Protocol):
    """Is told how far the study is."""

    def preparing(self, site: str, done: int, total: int) -> None:
        """One more case of a site is preprocessed."""

    def left_out(self, site: str, organs: Sequence[str]) -> None:
        """A site labels none of the organs of some arms and takes no part in them."""

    def untaught(self, arm: str, organs: Sequence[str]) -> None:
        """An arm leaves a site out, and with it organs that no other site labels."""

    def planned(self, arms: int, complete: int) -> None:
        """So many arms are to be reported, so many of them were complete before."""

    def started(self, spec: ArmSpec) -> None:
        """An arm starts."""

    def elsewhere(self, spec: ArmSpec, machine: str) -> None:
        """Another call, on the named machine, runs an arm of this study."""

    def round_done(self, spec: ArmSpec, point: Point, rounds: int) -> None:
        """An arm's network was validated: ``round`` and the mean Dice by modality."""

    def ended(self, spec: ArmSpec, seconds: float, left: float, problem: str) -> None:
        """An arm ended, with a problem or none; ``left`` estimates the seconds that the study still needs."""

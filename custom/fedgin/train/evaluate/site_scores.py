"""What a site tells of the scores of a bundle's model on its test cases; the lead reads it as what a stranger sent."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from fedgin.config import Settings
from fedgin.data.site import Modality, OrganName

MOST_CASES = 100_000
MOST_ORGANS = 100
# A number of patients, or that it is too small to be told, or that all but too few of the patients are meant.
Patients = Annotated[int, Field(ge=1, le=MOST_CASES)] | Annotated[str, StringConstraints(pattern=r"^[<>][0-9]{1,6}$")]
Organs = Annotated[tuple[OrganName, ...], Field(max_length=MOST_ORGANS)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Millimetres = Annotated[float, Field(ge=0.0, le=100_000.0)]


NOT_TOLD = "[-]"


class _Mean(Settings):
    value: float
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _an_interval_has_two_ends(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has one end")
        return self

    def interval(self, digits: int) -> str:
        """Return the interval as it is read."""
        return NOT_TOLD if self.low is None else f"[{self.low:.{digits}f}, {self.high:.{digits}f}]"


class MeanShare(_Mean):
    """A mean over patients of a value from 0 to 1, with its 95 % bootstrap interval unless they are too few."""

    value: Share
    low: Share | None = None
    high: Share | None = None


class MeanDistance(_Mean):
    """A mean over patients in millimetres, with its 95 % bootstrap interval unless they are too few."""

    value: Millimetres
    low: Millimetres | None = None
    high: Millimetres | None = None


class OrganScores(Settings):
    """One organ, or the mean over organs.

    Attributes:
        patients: who show it.
        dice: overlap in 3D on the image's own grid.
        hd95_mm: see :class:`~fedgin.train.evaluate.surface_metrics.SurfaceScore`.
        surface_dice: the same, at 2 mm.
    """

    patients: Patients
    dice: MeanShare
    hd95_mm: MeanDistance
    surface_dice: MeanShare


class CaseRow(Settings):
    """One organ of one case, at a site that agreed to show it.

    Attributes:
        patient: a number; the patient with the largest Dice is 1, so that it tells nothing else.
        case: a number in the patient, by the same rule.
        organ: shown in the case.
        dice: to four digits, as the other values.
        hd95_mm: see :class:`OrganScores`.
        surface_dice: see :class:`OrganScores`.
    """

    patient: int = Field(ge=1, le=MOST_CASES)
    case: int = Field(ge=1, le=MOST_CASES)
    organ: OrganName
    dice: Share
    hd95_mm: Millimetres
    surface_dice: Share


class SiteScores(Settings):
    """A site's answer.

    Attributes:
        modality: the modality of its images.
        patients: on the site's test list.
        mean: over the organs in ``organs``, of each patient and then over patients; none without such an organ.
        organs: by name, in the order of the experiment.
        unlabelled: organs of the model that the site does not label, so that it cannot score them.
        absent: organs that the site labels and no test case shows.
        withheld: organs that fewer patients show than a number may be shared of.
        rows: by case; none where the site did not agree.
    """

    modality: Modality
    patients: Patients
    mean: OrganScores | None = None
    organs: Annotated[dict[OrganName, OrganScores], Field(max_length=MOST_ORGANS)] = Field(default={})
    unlabelled: Organs = ()
    absent: Organs = ()
    withheld: Organs = ()
    rows: Annotated[tuple[CaseRow, ...], Field(max_length=MOST_CASES)] | None = None

    @model_validator(mode="after")
    def _organs_are_told_once(self) -> Self:
        named = [*self.organs, *self.unlabelled, *self.absent, *self.withheld]
        if len(set(named)) < len(named) or (self.mean is None) != (not self.organs):
            raise ValueError("an organ is told of twice, or there is no mean")
        return self

    def in_words(self) -> str:
        """Return the mean over organs as a line says it."""
        if self.mean is None:
            return f"no score: {self.patients} patients, {self.why_no_score()}"
        dice = self.mean.dice
        interval = "" if dice.low is None else f" {dice.interval(2)}"
        return f"Dice {dice.value:.3f}{interval}, {self.patients} patients"

    def why_no_score(self) -> str:
        """Return why organs have no score, by kind of reason; empty where each has one."""
        reasons = {
            "not labelled at the site": self.unlabelled,
            "shown by no test case": self.absent,
            "withheld, shown by too few patients": self.withheld,
        }
        return "; ".join(f"{', '.join(organs)}: {reason}" for reason, organs in reasons.items() if organs)

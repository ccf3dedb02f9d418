"""The fingerprints of several sites, as :mod:`fedgin.data.validation.fingerprint` writes them: a closed schema.

They come from other people's machines, and everything in a plan rests on them, so nothing in one may be doubtful.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

import fedgin
from fedgin.config import Settings, parse_settings
from fedgin.data.datalist import Split
from fedgin.data.site import Modality, OrganName
from fedgin.data.validation.findings import Severity
from fedgin.documents import read_json
from fedgin.errors import DataError, FedginError

ASK_AGAIN = "ask the site for one of 'fedgin site validate' of this version"
# Sizes in mm or voxels; and voxels that an experiment can have.
LARGEST = 10_000.0
# Volumes in ml: the body as one organ, or muscles and fat, have more than ten litres.
LARGEST_ML = 1e6
SPACING_MM = (0.11, 20.0)


def _ascending(found: dict[str, float]) -> dict[str, float]:
    values = [found[name] for name in sorted(found, key=lambda name: float(name[1:]))]
    if values != sorted(values):
        raise ValueError("percentiles do not ascend")
    if "p50" not in found:
        raise ValueError("p50 is missing")
    return found


def _plausible(found: dict[str, float], largest: float = LARGEST) -> dict[str, float]:
    if not all(0.0 < value <= largest for value in found.values()):
        raise ValueError(f"expected sizes above 0, up to {largest:g}")
    return found


Percentiles = Annotated[
    dict[
        Annotated[str, StringConstraints(pattern=r"^p[0-9]{1,2}(\.[0-9])?$")], Annotated[float, Field(ge=-1e9, le=1e9)]
    ],
    Field(min_length=1, max_length=20),
    AfterValidator(_ascending),
]
Sizes = Annotated[Percentiles, AfterValidator(_plausible)]
Volumes = Annotated[Percentiles, AfterValidator(partial(_plausible, largest=LARGEST_ML))]
Count = Annotated[int, Field(ge=0)] | Annotated[str, StringConstraints(pattern=r"^[<>][0-9]{1,9}$")]
Code = Annotated[str, StringConstraints(max_length=64)]


class ByAxis(Settings):
    """Sizes along the RAS+ axes; none of a group that is too small."""

    left_right: Sizes | None
    posterior_anterior: Sizes | None
    inferior_superior: Sizes | None

    def known(self) -> tuple[Mapping[str, float], ...]:
        """Return the percentiles of the three axes, or nothing when one is missing."""
        found = [self.left_right, self.posterior_anterior, self.inferior_superior]
        return tuple(axis for axis in found if axis) if all(found) else ()


class Training(Settings):
    """What the training cases are like.

    Attributes:
        spacing_mm: distance of voxels.
        slices: along inferior-superior.
        length_mm: that they cover.
        body_mm: size of the box around the body.
        organ_hu: Hounsfield units of the organs' voxels; none for MR, and for CT that has lost them.
    """

    spacing_mm: ByAxis
    slices: Sizes | None
    length_mm: Sizes | None
    body_mm: ByAxis
    organ_hu: Percentiles | None


class Organ(Settings):
    """One organ of a site; see :class:`~fedgin.data.validation.facts.Anatomy`."""

    cases: Count
    volume_ml: Volumes | None
    extent_mm: ByAxis
    brightness: Percentiles | None


class Fingerprint(Settings):
    """What a site shares of its dataset."""

    site: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", max_length=64)]
    modality: Modality
    fedgin: Annotated[str, StringConstraints(max_length=64)]
    note: Annotated[str, StringConstraints(max_length=1000)]
    verdict: Severity
    cases: dict[Split, Count]
    orientations: dict[Annotated[str, StringConstraints(pattern=r"^[RLAPIS]{3}$")], Count]
    spacing_mm: ByAxis
    field_of_view_mm: ByAxis
    voxels: ByAxis
    intensity_percentiles: Annotated[dict[Code, Percentiles | None], Field(max_length=20)]
    training: Training
    organs: Annotated[dict[OrganName, Organ], Field(max_length=255)]
    findings: Annotated[dict[Code, Count | None], Field(max_length=1000)]
    dataset: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

    @model_validator(mode="after")
    def _numbers_are_of_somebody(self) -> "Fingerprint":
        training = self.training
        parts = (training.spacing_mm.known(), training.slices, training.length_mm, training.body_mm.known())
        if bool(self.training_cases) != all(parts) and self.verdict is not Severity.FAIL:
            raise ValueError("it counts training cases and has no numbers of them, or the other way round")
        steps = [step for axis in training.spacing_mm.known() for step in axis.values()]
        if not all(SPACING_MM[0] <= step <= SPACING_MM[1] for step in steps):
            raise ValueError(f"training.spacing_mm is beyond {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm")
        return self

    @property
    def training_cases(self) -> int:
        """Number of training cases that its numbers rest on; 0 of a group that is too small."""
        count = self.cases.get(Split.TRAINING, 0)
        return count if isinstance(count, int) else 0

    def labels(self, organ: str) -> bool:
        """Tell whether enough of its cases show an organ."""
        return organ in self.organs and not str(self.organs[organ].cases).startswith("<")


def load_fingerprints(paths: Sequence[Path]) -> list[Fingerprint]:
    """Read the files of :func:`read_fingerprints`."""
    return read_fingerprints([(str(path), _json_or_error(path)) for path in paths])


def _json_or_error(path: Path) -> object:
    try:
        return read_json(path, source=str(path))
    except FedginError as error:
        return error


def read_fingerprints(found: Sequence[tuple[str, object]]) -> list[Fingerprint]:
    """Read the fingerprints of a federation, sorted by site, so that their order changes nothing.

    Args:
        found: JSON values, or the error in place of them, each with what names it.

    Raises:
        DataError: names every one that is damaged, of another version, of a dataset that fails its validation, or at
            odds with another; or none has a number.
    """
    read: list[Fingerprint] = []
    faults = []
    for source, values in found:
        try:
            if isinstance(values, FedginError):
                raise values
            read.append(parse_settings(values, Fingerprint, source=source))
        except FedginError as error:
            faults.append(error.problem)
    faults += _own_faults(read) + _contradictions(read)
    if not faults and not any(each.training_cases for each in read):
        faults = ["no site has three training cases, so none shares a number"]
    if faults:
        raise DataError("; ".join(faults), ASK_AGAIN)
    return sorted(read, key=lambda each: each.site)


def _own_faults(read: Sequence[Fingerprint]) -> list[str]:
    faults = []
    for each in read:
        if each.fedgin != fedgin.__version__:
            faults.append(f"{each.site}: written by fedgin {each.fedgin}, this is {fedgin.__version__}")
        if each.verdict is Severity.FAIL:
            codes = ", ".join(each.findings) or "in a split too small to be told of"
            faults.append(f"{each.site}: its dataset fails the validation ({codes}), and so would the plan")
    return faults


def _contradictions(read: Sequence[Fingerprint]) -> list[str]:
    names = Counter(each.site for each in read)
    faults = [f"{site}: {count} fingerprints have this name" for site, count in sorted(names.items()) if count > 1]
    sharing: dict[str, set[str]] = {}
    for each in read:
        sharing.setdefault(each.dataset, set()).add(each.site)
    doubled = sorted(sorted(sites) for sites in sharing.values() if len(sites) > 1)
    return faults + [f"{' and '.join(sites)}: one dataset under several names" for sites in doubled]

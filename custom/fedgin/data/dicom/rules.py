"""What a site wants from its DICOM tree: ``ingest.yaml``."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from fedgin.config import Settings, load_settings, spelt
from fedgin.data.label_values import count_ids
from fedgin.data.site import Modality, OrganName
from fedgin.errors import ConfigError

Share = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0.0, lt=1.0)]

# Scanners write an echo time of 2.3 ms as 2.298, too.
PART_TOLERANCE = 0.05


class LabelSource(StrEnum):
    """Where labels come from; ``none`` converts images only."""

    DICOM_SEG = "dicom_seg"
    RTSTRUCT = "rtstruct"
    NIFTI = "nifti"
    NONE = "none"


class LabelRules(Settings):
    """Which segments become which organs.

    Attributes:
        source: ``dicom_seg``, ``rtstruct``, ``nifti`` or ``none``.
        folder: absolute path of the folder with one NIfTI label file a series; with ``nifti`` only.
        map: segment name to organ name; names compare without case and surrounding blanks. Several segments may make
            one organ. For ``nifti``, the ids 1 to 255 of the label files instead of names; other ids are background.
            Ids in the written label files count the organs from 1 in the order of this map.
        may_be_absent: organs that a patient can lack (a removed gallbladder); any other organ without a voxel
            keeps the case out, because it would be taught as background.
    """

    source: LabelSource = LabelSource.DICOM_SEG
    folder: Path | None = None
    map: dict[str, OrganName] = Field(default={})
    may_be_absent: list[OrganName] = Field(default=[])

    @model_validator(mode="after")
    def _map_fits_the_source(self) -> "LabelRules":
        if (self.source is LabelSource.NONE) == bool(self.map):
            raise ValueError("give 'map' with source dicom_seg, rtstruct or nifti, and no 'map' with source none")
        if len(self.by_segment) != len(self.map):
            raise ValueError("two segment names in 'map' differ only in case or blanks")
        if len(self.ids) > 255:
            raise ValueError("at most 255 organs fit into a label file")
        strangers = sorted(set(self.may_be_absent) - set(self.map.values()))
        if strangers:
            raise ValueError(f"'may_be_absent' names {strangers[0]}, which is not in 'map'")
        return self

    @model_validator(mode="after")
    def _nifti_has_folder_and_ids(self) -> "LabelRules":
        if (self.source is LabelSource.NIFTI) != (self.folder is not None):
            raise ValueError("give 'folder' with source nifti, and with no other source")
        if self.folder is None:
            return self
        if not self.folder.is_absolute():
            raise ValueError("'folder' must be an absolute path")
        if not all(re.fullmatch("[1-9][0-9]{0,2}", number) and int(number) <= 255 for number in self.map):
            raise ValueError("with source nifti 'map' is id to organ, for example {'1': liver}; ids are 1 to 255")
        return self

    @property
    def ids(self) -> dict[str, int]:
        """Organ name to the id in the label files."""
        return {organ: number for number, organ in enumerate(dict.fromkeys(self.map.values()), start=1)}

    @property
    def by_segment(self) -> dict[str, str]:
        """Segment name as compared to organ name."""
        return {comparable(name): organ for name, organ in self.map.items()}

    def shows_all(self, labels: NDArray[np.uint8]) -> bool:
        """Tell whether a label volume has voxels of some organ, and of each that no patient lacks.

        A segment that was made and never drawn has a name and no voxel.
        """
        counts = count_ids(labels)
        shown = {organ for organ, number in self.ids.items() if counts[number]}
        return bool(shown) and shown.issuperset(set(self.ids) - set(self.may_be_absent))


class SplitRules(Settings):
    """How patients are divided.

    Attributes:
        validation: share of the labelled patients below 1, or their number.
        test: share of the labelled patients below 1, or their number.
        seed: the seed of the drawing.
    """

    validation: Share = 0.2
    test: Share = 0.2
    seed: int = 42


class PartRules(Settings):
    """Which volume of a series that holds several; a key counts only where the series has such parts.

    Attributes:
        stack: name of the stack in an enhanced image.
        image_type: one word of the image type, such as ``IN_PHASE``; case does not count.
        echo_time: ms, within ``PART_TOLERANCE``.
        b_value: s/mm2.
        time: number of the time point or phase from 1.
    """

    stack: str | int | None = None
    image_type: str | None = None
    echo_time: float | None = Field(default=None, gt=0.0)
    b_value: float | None = Field(default=None, ge=0.0)
    time: int | None = Field(default=None, ge=1)

    def choose(self, values: Mapping[str, object]) -> bool:
        """Tell whether a part with these values is wanted."""
        return all(_agrees(wanted, values[trait]) for trait, wanted in self if wanted is not None and trait in values)


def _agrees(wanted: object, value: object) -> bool:
    if isinstance(value, tuple):
        return str(wanted).strip().upper() in value
    if isinstance(value, float) and isinstance(wanted, float):
        return abs(wanted - value) <= PART_TOLERANCE
    return str(wanted) == str(value)


class IngestRules(Settings):
    """``ingest.yaml``.

    Attributes:
        site: the name under which the site is known to FLARE; goes into the drafted ``site.yaml``.
        modality: which series are images of the dataset.
        include: regular expression that a series description must contain; empty takes all.
        exclude: regular expression that a series description must not contain; empty excludes none.
        minimum_slices: series with fewer slices stay out.
        compress: write images as ``.nii.gz``: about half the disk, several times slower to write and read.
        parts: which volume of a series that holds several.
        labels: which segments become which organs.
        split: how patients are divided.
    """

    site: str = Field(
        pattern=spelt(
            r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", "letters, digits, '.', '_' and '-', not first or last"
        ),
        max_length=64,
    )
    modality: Modality
    include: str = ""
    exclude: str = ""
    minimum_slices: int = Field(default=10, ge=2)
    compress: bool = False
    parts: PartRules = PartRules()
    labels: LabelRules
    split: SplitRules = SplitRules()

    @field_validator("include", "exclude")
    @classmethod
    def _pattern_compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error:
            raise ValueError("not a valid regular expression") from None
        return pattern

    def selects(self, description: str) -> bool:
        """Tell whether a series with this description is wanted; case counts unless the pattern says ``(?i)``."""
        if self.exclude and re.search(self.exclude, description):
            return False
        return re.search(self.include, description) is not None


def load_rules(path: Path) -> IngestRules:
    """Read ``ingest.yaml``.

    Raises:
        ConfigError: no such file, or an unknown, missing or invalid key.
    """
    if not path.is_file():
        raise ConfigError(
            f"the rules {path.name} do not exist",
            "write them, for example: {site: hospital-a, modality: CT, labels: {map: {Liver: liver}}}; "
            "all keys are in docs/site-engineer.md",
        )
    return load_settings(path, IngestRules)


def comparable(segment_name: str) -> str:
    """Return a segment name without case and surrounding blanks."""
    return segment_name.strip().casefold()

"""Which cases a site has and in which split they are: a Decathlon-style (MSD) JSON file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from fedgin.config import Settings, parse_settings
from fedgin.data.site import IgnoredIds, Modality, OrganIds, PngSlices, SiteContract
from fedgin.documents import read_json
from fedgin.errors import DataError

# Names it in errors, which may leave the site: its path may say more than that.
SOURCE = "the datalist"


class Split(StrEnum):
    """What a case is used for; a patient is in one split only."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"


class Entry(Settings):
    """One case: paths relative to ``data_root``; ``patient`` groups cases of one person (a pseudonym, kept local)."""

    image: Path
    label: Path
    patient: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, values: object) -> object:
        """Refuse an unknown key without naming it: an exporter's slip makes a patient's name a key."""
        if isinstance(values, dict) and not values.keys() <= cls.model_fields.keys():
            raise ValueError(f"unknown key; an entry has {', '.join(cls.model_fields)}")
        return values


class Datalist(BaseModel):
    """The splits of a datalist; further MSD keys (name, licence, ...) are allowed and not used.

    A site that only evaluates lists ``test`` alone; a job that trains asks for the others.

    Attributes:
        training: cases to train on.
        validation: cases that choose the model.
        test: cases that are only measured.
        test_names: entries of ``test`` that are only an image's name, as in the Decathlon, whose test labels are
            secret; nothing can be measured on them, so they are not used.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    training: list[Entry] = []
    validation: list[Entry] = []
    test: list[Entry] = []
    test_names: int = 0

    @model_validator(mode="before")
    @classmethod
    def _names_are_no_cases(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        test = values.get("test", [])
        cases = [entry for entry in test if not isinstance(entry, str)] if isinstance(test, list) else test
        return values | {"test": cases, "test_names": len(test) - len(cases) if isinstance(test, list) else 0}

    @model_validator(mode="after")
    def _some_case_is_listed(self) -> Self:
        if not (self.training or self.validation or self.test):
            raise ValueError("no case under 'training', 'validation' or 'test'")
        return self

    def entries(self, split: Split) -> list[Entry]:
        """Return the entries of a split."""
        return {Split.TRAINING: self.training, Split.VALIDATION: self.validation, Split.TEST: self.test}[split]


@dataclass(frozen=True)
class Case:
    """One image with its label.

    Attributes:
        site: name of the site.
        modality: the modality of the site.
        split: what the case is used for.
        number: position in its split, from 1; all that logs and errors ever say about a case.
        subject: number of its patient in the split, from 1; an entry without a patient is a subject of its own.
        image: absolute path of the image.
        label: absolute path of the label.
        label_ids: the site's organ name to label id, or ids.
        png: pixel size and directions, for cases that are PNG slices.
        ignore: ids of the label files that count as background here.
    """

    site: str
    modality: Modality
    split: Split
    number: int
    subject: int
    image: Path
    label: Path
    label_ids: Mapping[str, OrganIds]
    png: PngSlices | None = None
    ignore: IgnoredIds = ()

    @property
    def in_hounsfield_units(self) -> bool:
        """Tell whether intensities are on the CT scale; PNG slices are made for display and have lost it."""
        return self.modality is Modality.CT and self.image.suffix.lower() != ".png"

    def __str__(self) -> str:
        """Name the case without naming the patient."""
        return f"site {self.site}, {self.split} case {self.number}"


def read_datalist(path: Path) -> Datalist:
    """Read and check a datalist.

    Raises:
        ConfigError: no JSON, no case, or an unknown key in an entry.
        DataError: one image, or one patient, in two places.
    """
    datalist = parse_datalist(path)
    _refuse_repeats(datalist)
    return datalist


def parse_datalist(path: Path) -> Datalist:
    """Read a datalist without looking for repeats.

    Raises:
        ConfigError: no JSON, no case, or an unknown key in an entry.
    """
    return parse_settings(read_json(path, source=SOURCE), Datalist, source=SOURCE)


def list_cases(contract: SiteContract) -> dict[Split, list[Case]]:
    """Return the site's cases by split; files are not opened here.

    Raises:
        ConfigError, DataError: as :func:`read_datalist`, and for files that are not under ``data_root``.
    """
    datalist = read_datalist(contract.datalist)
    cases = {split: cases_of(contract, datalist, split) for split in Split}
    for case in (case for members in cases.values() for case in members):
        _refuse_missing_files(case)
    return cases


def cases_of(contract: SiteContract, datalist: Datalist, split: Split) -> list[Case]:
    """Return the cases of one split in the order of the datalist; their files are not looked at."""
    cases, subjects = [], dict[str, int]()
    for number, entry in enumerate(datalist.entries(split), start=1):
        subject = subjects.setdefault(entry.patient or f"entry {number}", len(subjects) + 1)
        image, label = (Path(os.path.realpath(contract.data_root / part)) for part in (entry.image, entry.label))
        cases.append(
            Case(
                site=contract.site,
                modality=contract.modality,
                split=split,
                number=number,
                subject=subject,
                image=image,
                label=label,
                label_ids=contract.labels,
                png=contract.png,
                ignore=contract.ignore,
            )
        )
    return cases


def _refuse_missing_files(case: Case) -> None:
    for role, path in (("image", case.image), ("label", case.label)):
        if not os.path.isfile(path):
            raise DataError(f"{case}: the {role} file is missing", f"restore it or take the case out of {SOURCE}")


def _refuse_repeats(datalist: Datalist) -> None:
    seen: dict[str, tuple[str, int]] = {}
    for split in Split:
        for number, entry in enumerate(datalist.entries(split), start=1):
            _refuse_image_twice(seen, f"image:{entry.image}", split, number)
    homes: dict[str, tuple[str, int]] = {}
    for split in Split:
        for number, entry in enumerate(datalist.entries(split), start=1):
            if entry.patient is not None:
                _refuse_patient_in_two_splits(homes, entry.patient, split, number)


def _refuse_image_twice(seen: dict[str, tuple[str, int]], key: str, split: Split, number: int) -> None:
    if key in seen:
        other, position = seen[key]
        raise DataError(
            f"{SOURCE}: {split} case {number} is the same file as {other} case {position}", "list each image once"
        )
    seen[key] = (split, number)


def _refuse_patient_in_two_splits(homes: dict[str, tuple[str, int]], patient: str, split: Split, number: int) -> None:
    other, position = homes.setdefault(patient, (split, number))
    if other != split:
        raise DataError(
            f"{SOURCE}: {split} case {number} is of the same patient as {other} case {position}",
            "keep all cases of a patient in one split",
        )

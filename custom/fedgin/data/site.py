"""The site contract: what a hospital says about its own data in ``site.yaml``. A job never knows a path."""

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from fedgin.config import Settings, load_settings, spelt
from fedgin.data.limits import Limits
from fedgin.data.privacy import Privacy
from fedgin.errors import ConfigError

OrganName = Annotated[
    str,
    StringConstraints(
        pattern=spelt(r"^[a-z][a-z0-9_]*$", "small letters, digits and '_', a letter first"), max_length=64
    ),
]
LARGEST_ID = 255
# The voxels of an organ have one id, or any of several: the kidneys where left and right are drawn apart.
OrganIds = int | tuple[int, ...]


# Ids of the label files that no job shall use: some, or all that no organ has.
OTHERS: Final = "others"
IgnoredIds = tuple[int, ...] | Literal["others"]


def ids_of(ids: OrganIds) -> tuple[int, ...]:
    """Return the ids of an organ, however they are written."""
    return ids if isinstance(ids, tuple) else (ids,)


def _plausible(ids: object) -> object:
    listed = ids if isinstance(ids, list | tuple) else [ids]
    if not 1 <= len(listed) <= LARGEST_ID or not all(type(one) is int and 1 <= one <= LARGEST_ID for one in listed):
        raise ValueError(f"expected an id from 1 to {LARGEST_ID}, or a list of such ids")
    return ids


def _ignorable(ids: object) -> object:
    listed = [] if ids == OTHERS else ids if isinstance(ids, list | tuple) else [ids]
    if not all(type(one) is int and one != 0 and abs(one) < 2**31 for one in listed):
        raise ValueError("expected a list of ids such as [4, 5], or others for all that 'labels' does not name")
    return ids if ids == OTHERS else tuple(listed)


class Modality(StrEnum):
    """How the images of a site were made; a site holds one modality."""

    CT = "CT"
    MR = "MR"


class PngSlices(Settings):
    """What PNG slices do not say about themselves.

    Attributes:
        pixel_mm: pixel size.
        axes: where columns and rows lead: ``LP`` as radiologists look (columns to the patient's left, rows to the
            back), ``RP`` mirrored, ``LA`` upside down, ``RA`` both.
    """

    pixel_mm: float = Field(gt=0.01, le=20.0)
    axes: Literal["LP", "RP", "LA", "RA"] = "LP"


class SiteContract(Settings):
    """``site.yaml``.

    Attributes:
        site: the name under which the site is known to FLARE.
        modality: ``CT`` or ``MR``.
        data_root: folder of the data; a relative path counts from the folder of ``site.yaml``.
        datalist: Decathlon-style JSON; a relative path counts from ``data_root``.
        labels: organ name to the id that this site's label files use, or to a list of ids that together are the organ;
            an organ left out is not labelled here.
        ignore: further ids of the label files, which count as background; ``others`` for all of them.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        png: pixel size and directions of PNG slices; needed where the datalist names PNG files.
        cache_dir: where preprocessed cases are kept; a relative path counts from ``data_root``.
        limits: what a job may use of the machine.
        privacy: what is done to an update before it leaves; by default nothing.
        share_case_scores: whether the lead of a job that evaluates a bundle gets the scores of each test case, without
            its name or place in the list; by default means over patients only.
        share_fingerprint: whether a lead who plans a job for all sites gets ``fingerprint.json`` of the last validation
            when it is asked for in the federation; by default only what somebody sends by hand.
    """

    site: str = Field(min_length=1, max_length=64)
    modality: Modality
    data_root: Path
    datalist: Path = Path("datalist.json")
    labels: dict[OrganName, Annotated[OrganIds, BeforeValidator(_plausible)]] = Field(min_length=1)
    ignore: Annotated[IgnoredIds, BeforeValidator(_ignorable)] = ()
    png: PngSlices | None = None
    device: str = "auto"
    cache_dir: Path = Path(".fedgin-cache")
    limits: Limits = Limits()
    privacy: Privacy | None = None
    share_case_scores: bool = False
    share_fingerprint: bool = False

    @field_validator("site")
    @classmethod
    def _site_is_a_plain_name(cls, site: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", site):
            raise ValueError("a site name has letters, digits, '.', '_' and '-' only, and starts and ends with neither")
        return site

    @field_validator("device")
    @classmethod
    def _device_is_known(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", device):
            raise ValueError("expected auto, cpu, cuda or cuda:N")
        return device

    @model_validator(mode="after")
    def _one_organ_per_id(self) -> "SiteContract":
        ids = [label for organ in self.labels.values() for label in ids_of(organ)]
        doubled = sorted({label for label in ids if ids.count(label) > 1})
        if doubled:
            raise ValueError(f"label id {doubled[0]} is given to more than one organ, or twice to one")
        both = sorted(set(ids).intersection(self.ignore))
        if both:
            raise ValueError(f"label id {both[0]} is both in 'labels' and in 'ignore'")
        return self


def load_site(path: Path) -> SiteContract:
    """Read ``site.yaml``; every path of the returned contract is absolute.

    Raises:
        ConfigError: unknown key, wrong value, or a folder or datalist that does not exist.
    """
    contract = load_settings(path, SiteContract)
    # os.path has an answer for loops of links, closed folders and names that are too long, where Path has exceptions.
    root = Path(os.path.realpath(path.parent / contract.data_root))
    if not os.path.isdir(root):
        raise ConfigError(f"{path}: 'data_root' is not a folder", "give the folder that holds the site's data")
    datalist, cache = (Path(os.path.realpath(root / part)) for part in (contract.datalist, contract.cache_dir))
    if not os.path.isfile(datalist):
        raise ConfigError(f"{path}: 'datalist' is no file in data_root", "write the datalist or correct its name")
    return contract.model_copy(update={"data_root": root, "datalist": datalist, "cache_dir": cache})

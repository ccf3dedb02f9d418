"""TotalSegmentator CT and MRI: a folder a subject with an image and a mask file an organ, and ``meta.csv``."""

import csv
from collections import defaultdict
from pathlib import Path

from fedgin.data.datalist import Split
from fedgin.data.importers.archive import Archive, ArchiveCase, is_there, refuse_faults
from fedgin.data.importers.label_ids import TOTALSEGMENTATOR_MASKS, TOTALSEGMENTATOR_MERGED_IDS
from fedgin.data.importers.masks import MergedMasks
from fedgin.data.site import Modality
from fedgin.errors import DataError

META, MASKS = "meta.csv", "segmentations"
IMAGES = {Modality.CT: "ct.nii.gz", Modality.MR: "mri.nii.gz"}
SPLITS = {"train": Split.TRAINING, "val": Split.VALIDATION, "test": Split.TEST}
MEND = f"unpack or download these again; or take the subjects out, with their rows in {META}"


def read_totalsegmentator(source: Path) -> Archive:
    """Return what the archive holds; masks of bones and muscles are left out.

    All subjects of a modality have the same masks, empty where the image does not show the organ.

    Raises:
        DataError: no such archive, or a list of all that is missing.
    """
    splits = _splits(source / META)
    subjects = [path.name for path in sorted(source.iterdir()) if (path / MASKS).is_dir() or _images(path)]
    if not subjects:
        raise DataError(
            f"no folder in SOURCE has {' or '.join(IMAGES.values())} and '{MASKS}'",
            f"give the folder that holds {META} and a folder for each subject",
        )
    expected = defaultdict[Modality, set[str]](set)
    for name in subjects:
        for modality in _images(source / name):
            expected[modality].update(_masks(source / name))
    faults = {name: _missing(source / name, expected) for name in subjects}
    faults |= {name: ["the whole folder"] for name in splits.keys() - faults.keys()}
    if splits:
        for name in faults.keys() - splits.keys():
            faults[name].append(f"its row in {META}")
    refuse_faults("lacks files of", faults, MEND)
    if not any(expected.values()):
        raise DataError("the archive has no mask of a known organ", f"give one with masks such as {MASKS}/liver.nii.gz")
    cases = [_case(source / name, splits.get(name)) for name in subjects]
    return Archive("totalsegmentator", cases, TOTALSEGMENTATOR_MERGED_IDS)


def _images(folder: Path) -> list[Modality]:
    return [modality for modality, name in IMAGES.items() if is_there(folder / name)]


def _masks(folder: Path) -> dict[str, Path]:
    paths = {name: folder / MASKS / f"{name}.nii.gz" for name in TOTALSEGMENTATOR_MASKS}
    return {name: path for name, path in paths.items() if is_there(path)}


def _missing(folder: Path, expected: dict[Modality, set[str]]) -> list[str]:
    images = _images(folder)
    if len(images) != 1:
        return ["one of " + " and ".join(IMAGES.values())]
    return [f"{MASKS}/{name}.nii.gz" for name in sorted(expected[images[0]] - _masks(folder).keys())]


def _case(folder: Path, split: Split | None) -> ArchiveCase:
    modality = _images(folder)[0]
    image = folder / IMAGES[modality]
    masks = {TOTALSEGMENTATOR_MASKS[name]: path for name, path in _masks(folder).items()}
    label = MergedMasks(image, masks, TOTALSEGMENTATOR_MERGED_IDS)
    return ArchiveCase(folder.name, folder.name, modality, image, label, split)


def _splits(path: Path) -> dict[str, Split | None]:
    """Return the split of each subject; nothing without the table, no split where it has none."""
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        names = {row["image_id"].strip(): (row.get("split") or "").strip() for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError):
        raise DataError(f"{META} is no table with a column image_id and ';' between columns", MEND) from None
    strange = sorted(set(names.values()) - SPLITS.keys() - {""})
    if strange or len(names) != len(rows):
        what = f"the split '{strange[0]}'" if strange else "subjects in two rows"
        raise DataError(f"{META} has {what}", f"each subject has one row, its split one of {', '.join(SPLITS)}")
    return {name: SPLITS.get(split) for name, split in names.items()}

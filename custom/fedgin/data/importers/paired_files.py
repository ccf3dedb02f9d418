"""Lay out a site over a folder of images with their label files beside them; nothing is copied.

Two layouts: ``ct_NN.nii.gz`` or ``mr_NN.nii.gz`` with ``seg_NN.nii.gz``, one subject a file, as for BTCV and CHAOS;
and ``PATIENT_SLICE_img.png`` with ``PATIENT_SLICE_seg.png``, as for CHD68 and HVSMR-2.0.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from fedgin.data.datalist import Split
from fedgin.data.site import Modality, PngSlices
from fedgin.errors import DataError
from fedgin.files import write_text

FOLDS = 3


@dataclass(frozen=True)
class PairedFolder:
    """What a folder holds and how its subjects are split.

    Attributes:
        modality: the modality of all its images.
        label_ids: organ to its id in the label files.
        images: pattern of the image files.
        training: subjects for training.
        validation: subjects for validation; all others are test subjects.
        png: pixel size and directions of PNG slices.
    """

    modality: Modality
    label_ids: Mapping[str, int]
    images: str
    training: int
    validation: int
    png: PngSlices | None = None


def write_paired_site(folder: Path, source: PairedFolder, data: Path, seed: int, *, fold: int | None = None) -> Path:
    """Write ``site.yaml`` and ``datalist.json`` into ``folder``, the site's name; return the path of the former.

    Subjects are split in the order of a seeded shuffle, so that no subject is in two splits.

    Args:
        folder: the folder of the site.
        source: what ``data`` holds.
        data: folder of the images and labels, which stays as it is.
        seed: the seed of the shuffle.
        fold: from 1 to :data:`FOLDS`, to choose a recipe without its test: the subjects for training and validation
            alone are split again. Those of the fold are the test subjects, one of the others validates.

    Raises:
        DataError: the folder holds too few subjects to leave one for the test; nothing is written.
    """
    entries: dict[str, list[dict[str, str]]] = {}
    for image in sorted(data.glob(source.images)):
        entry = _entry(image)
        entries.setdefault(entry["patient"], []).append(entry)
    splits = _split(list(entries), source, seed)
    if fold is not None:
        splits = _fold([*splits[Split.TRAINING], *splits[Split.VALIDATION]], fold)
    if not splits[Split.TEST]:
        raise DataError(
            f"{data} holds {len(entries)} subjects of '{source.images}'",
            f"give a folder with more than {source.training + source.validation}",
        )
    datalist = {
        split.value: [entry for patient in sorted(patients) for entry in entries[patient]]
        for split, patients in splits.items()
    }
    write_text(folder / "datalist.json", json.dumps(datalist, indent=2) + "\n")
    write_text(folder / "site.yaml", yaml.safe_dump(_contract(folder, source, data), sort_keys=False))
    return folder / "site.yaml"


def _split(patients: list[str], source: PairedFolder, seed: int) -> dict[Split, list[str]]:
    random.Random(seed).shuffle(patients)
    known = source.training + source.validation
    return {
        Split.TRAINING: patients[: source.training],
        Split.VALIDATION: patients[source.training : known],
        Split.TEST: patients[known:],
    }


def _fold(patients: list[str], fold: int) -> dict[Split, list[str]]:
    scored = patients[fold - 1 :: FOLDS]
    *training, validation = (patient for patient in patients if patient not in scored)
    return {Split.TRAINING: training, Split.VALIDATION: [validation], Split.TEST: scored}


def _contract(folder: Path, source: PairedFolder, data: Path) -> dict[str, object]:
    contract: dict[str, object] = {
        "site": folder.name,
        "modality": source.modality.value,
        "data_root": str(data.resolve()),
        "datalist": str((folder / "datalist.json").resolve()),
        "cache_dir": str((folder / "cache").resolve()),
        "labels": dict(source.label_ids),
    }
    return contract if source.png is None else {**contract, "png": source.png.model_dump()}


def _entry(image: Path) -> dict[str, str]:
    if image.suffix == ".png":
        label = image.name.replace("_img.png", "_seg.png")
        return {"image": image.name, "label": label, "patient": image.name.split("_")[0]}
    number = image.name.removesuffix(".nii.gz").split("_")[1]
    return {"image": image.name, "label": f"seg_{number}.nii.gz", "patient": f"{image.name[:2]}-{number}"}

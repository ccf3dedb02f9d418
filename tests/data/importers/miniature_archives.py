"""Miniature archives in exactly the layouts in which public data sets are downloaded."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from tests.sites import AFFINE, make_volume

META_COLUMNS = ("image_id", "age", "gender", "institute", "study_type", "split")
AMOS_LABELS = (
    *("background", "spleen", "right kidney", "left kidney", "gall bladder", "esophagus", "liver", "stomach", "arota"),
    *("postcava", "pancreas", "right adrenal gland", "left adrenal gland", "duodenum", "bladder", "prostate/uterus"),
)


def save(path: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64] = AFFINE) -> None:
    """Write a volume with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def right_way_round(modality: str, seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return a block phantom with the liver (1) on the right and the spleen (2) on the left of the patient."""
    image, label = make_volume(modality, seed)
    return image[::-1].copy(), label[::-1].copy()


def write_totalsegmentator(source: Path, splits: Mapping[str, str], image: str = "ct.nii.gz") -> Path:
    """Write subjects with masks of liver, spleen, a vertebra, and an empty one of the pancreas."""
    for number, subject in enumerate(splits):
        voxels, label = right_way_round("CT" if image == "ct.nii.gz" else "MR", number)
        save(source / subject / image, voxels)
        masks = {"liver": label == 1, "spleen": label == 2, "pancreas": label == 9, "vertebrae_L1": label == 0}
        for organ, mask in masks.items():
            save(source / subject / "segmentations" / f"{organ}.nii.gz", mask.astype(np.uint8))
    with (source / "meta.csv").open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.DictWriter(file, META_COLUMNS, delimiter=";", restval="")
        table.writeheader()
        table.writerows({"image_id": subject, "age": "60", "split": split} for subject, split in splits.items())
    return source


def write_amos22(source: Path, training: list[int], validation: list[int], test: list[int]) -> Path:
    """Write labelled training and validation cases and test images without labels, by their numbers."""
    ids = np.array([0, 6, 1], dtype=np.uint8)
    lists: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    folders = {"training": ("Tr", training), "validation": ("Va", validation), "test": ("Ts", test)}
    for split, (ending, numbers) in folders.items():
        for number in numbers:
            voxels, label = right_way_round("CT" if number <= 500 else "MR", number)
            entry = {"image": f"./images{ending}/amos_{number:04}.nii.gz"}
            save(source / entry["image"], voxels)
            if split != "test":
                entry["label"] = f"./labels{ending}/amos_{number:04}.nii.gz"
                save(source / entry["label"], ids[label])
            lists[split].append(entry)
    labels = {str(number): organ for number, organ in enumerate(AMOS_LABELS)}
    dataset = {"name": "AMOS", "tensorImageSize": "3D", "modality": {"0": "CT"}, "labels": labels, **lists}
    (source / "dataset.json").write_text(json.dumps(dataset))
    return source

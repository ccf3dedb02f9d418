"""Miniature archives in exactly the layouts in which public data sets are downloaded."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import generate_uid

from tests.data.dicom.series import SeriesSpec, make_slices, write_pixels
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


def write_btcv(source: Path, numbers: Sequence[int], tested: Sequence[int] = ()) -> Path:
    """Write training pairs, and test images without labels, by their numbers."""
    ids = np.array([0, 6, 1], dtype=np.uint8)
    for number in numbers:
        voxels, label = right_way_round("CT", number)
        save(source / "RawData" / "Training" / "img" / f"img{number:04}.nii.gz", voxels)
        save(source / "RawData" / "Training" / "label" / f"label{number:04}.nii.gz", ids[label])
    for number in tested:
        save(source / "RawData" / "Testing" / "img" / f"img{number:04}.nii.gz", right_way_round("CT", number)[0])
    return source


def write_mmwhs(source: Path, numbers: Sequence[int], tested: Sequence[int] = ()) -> Path:
    """Write CT and MR of the heart with two chambers, as the archive numbers them, and its slip 421 in one MR label."""
    values = np.array([0, 600, 420], dtype=np.int16)
    for modality in ("ct", "mr"):
        for number in (*numbers, *tested):
            part = "test" if number in tested else "train"
            voxels, label = right_way_round(modality.upper(), number)
            folder = source / f"{modality}_{part}"
            save(folder / f"{modality}_{part}_{number}_image.nii.gz", voxels)
            if part == "train":
                drawn = values[label]
                if modality == "mr" and number == numbers[0]:
                    drawn[tuple(np.argwhere(drawn == 420)[0])] = 421
                save(folder / f"{modality}_{part}_{number}_label.nii.gz", drawn)
    return source


def write_decathlon(source: Path, numbers: Sequence[int], tested: Sequence[int]) -> Path:
    """Write training pairs, test images without labels, and what a Macintosh leaves in an archive."""
    for number in (*numbers, *tested):
        voxels, label = right_way_round("CT", number)
        ending = "Ts" if number in tested else "Tr"
        save(source / f"images{ending}" / f"abdomen_{number}.nii.gz", voxels)
        (source / f"images{ending}" / f"._abdomen_{number}.nii.gz").write_bytes(b"\0\5\x16\7")
        if number in numbers:
            save(source / "labelsTr" / f"abdomen_{number}.nii.gz", label)
    training = [
        {"image": f"./imagesTr/abdomen_{number}.nii.gz", "label": f"./labelsTr/abdomen_{number}.nii.gz"}
        for number in numbers
    ]
    dataset = {
        "name": "ABDOMEN",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "Liver", "2": "Spleen"},
        "numTraining": len(numbers),
        "numTest": len(tested),
        "training": training,
        "test": [f"./imagesTs/abdomen_{number}.nii.gz" for number in tested],
    }
    (source / "dataset.json").write_text(json.dumps(dataset))
    return source


def write_nnunet(
    source: Path, cases: Sequence[str], tested: Mapping[str, bool] | None = None, ending: str = ".nii.gz"
) -> Path:
    """Write training cases, and cases of ``imagesTs`` with or without a label."""
    for seed, case in enumerate((*cases, *(tested or {}))):
        voxels, label = right_way_round("MR", seed)
        part = "Tr" if case in cases else "Ts"
        save(source / f"images{part}" / f"{case}_0000{ending}", voxels)
        if case in cases or (tested or {})[case]:
            save(source / f"labels{part}" / f"{case}{ending}", label)
    dataset = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "liver": 1, "spleen": 2},
        "numTraining": len(cases),
        "file_ending": ending,
    }
    (source / "dataset.json").write_text(json.dumps(dataset))
    return source


# Of background, liver, right kidney, left kidney and spleen; the CT's pictures know the liver only.
CHAOS_GREYS = {"CT": (0, 255, 0, 0, 0), "MR": (0, 63, 126, 189, 252)}


def write_chaos(source: Path, ct: Sequence[int], mr: Sequence[int]) -> Path:
    """Write patients by number: slices upwards in one half of the CT, downwards in all others; MR in three sequences.

    Each DICOM file has identifiers of its own, as in the archive.
    """
    train = source / "Train_Sets"
    for place, number in enumerate(ct):
        image, label = _chaos_volume("CT", number)
        folder, odd = train / "CT" / str(number), place % 2 == 1
        name = "IMG-0001-{:05}.dcm" if odd else "i{:04},0000b.dcm"
        write_chaos_case(folder, "DICOM_anon", name, "liver_GT_{:03}.png", image, label, downwards=odd)
    for number in mr:
        folder = train / "MR" / str(number)
        for seed, phase in enumerate(("InPhase", "OutPhase")):
            image, label = _chaos_volume("MR", number)
            noise = np.random.default_rng(seed).normal(0.0, 3.0, image.shape)
            names = (f"DICOM_anon/{phase}", "IMG-0004-{:05}.dcm", "IMG-0004-{:05}.png")
            write_chaos_case(folder / "T1DUAL", *names, np.abs(image + noise), label, downwards=True)
        image, label = _chaos_volume("MR", number + 100)
        names = ("DICOM_anon", "IMG-0002-{:05}.dcm", "IMG-0002-{:05}.png")
        write_chaos_case(folder / "T2SPIR", *names, image, label, downwards=True)
    return source


def _chaos_volume(modality: str, seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    image, label = right_way_round(modality, seed)
    return image, np.array([0, 1, 4], dtype=np.uint8)[label]


def write_chaos_case(
    folder: Path,
    slices: str,
    slice_name: str,
    picture_name: str,
    image: NDArray[np.floating],
    label: NDArray[np.uint8],
    *,
    downwards: bool,
) -> None:
    """Write an image [X, Y, Z] as DICOM slices and its label as pictures, from the head or from the feet."""
    modality = "CT" if "CT" in folder.parts else "MR"
    greys = np.array(CHAOS_GREYS[modality], dtype=np.uint8)
    spec = SeriesSpec(count=image.shape[2], modality=modality, spacing=(8.0, 8.0), step=5.0, origin=(-160, -144, 0))
    datasets = make_slices(spec)[:: -1 if downwards else 1]
    for path in (folder / slices, folder / "Ground"):
        path.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(datasets):
        place = image.shape[2] - 1 - number if downwards else number
        # The arrays' first two axes lead to right and front; DICOM's columns and rows lead to left and back.
        plane, drawn = (volume[::-1, ::-1, place].T for volume in (image, greys[label]))
        intercept = -1024.0 if modality == "CT" else 0.0
        write_pixels(dataset, np.clip(np.rint(plane - intercept), 0, 65535).astype(np.uint16))
        _give_identifiers_of_its_own(dataset)
        dataset.save_as(folder / slices / slice_name.format(number), enforce_file_format=True)
        Image.fromarray(np.ascontiguousarray(drawn)).save(folder / "Ground" / picture_name.format(number))


def _give_identifiers_of_its_own(dataset: pydicom.Dataset) -> None:
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, keyword, generate_uid())
    dataset.PatientID = ""

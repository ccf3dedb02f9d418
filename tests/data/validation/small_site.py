"""A small healthy site with planted identifiers, and ways to break it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import yaml
from numpy.typing import NDArray

SHAPE = (24, 20, 12)
AFFINE = np.diag([8.0, 8.0, 5.0, 1.0])
LABELS = {"liver": 1, "spleen": 2, "right_kidney": 3, "left_kidney": 4}
# What must never leave the site: in file names, in the datalist's patients and in the headers.
NAME, RECORD, BORN = "MUSTERMANN", "MRN-0815", "19500131"
Change = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass
class SmallSite:
    """Five CT cases; liver and right kidney lie to the patient's right (large x in RAS+)."""

    folder: Path
    modality: str = "CT"
    labels: dict[str, int] = field(default_factory=lambda: dict(LABELS))
    counts: tuple[int, int, int] = (3, 2, 0)
    datalist: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        number = 0
        for split, count in zip(("training", "validation", "test"), self.counts, strict=True):
            self.datalist[split] = []
            for _ in range(count):
                stem = f"{NAME}_{RECORD}_{number}"
                image, label = draw_case(number, self.modality)
                self.datalist[split].append({"image": f"{stem}.nii.gz", "label": f"{stem}_seg.nii.gz"})
                self.datalist[split][-1]["patient"] = f"{NAME}^ERIKA^{BORN}^{number}"
                self.write(split, number_in_split := len(self.datalist[split]), "image", image)
                self.write(split, number_in_split, "label", label)
                number += 1

    def path(self, split: str, number: int, role: str) -> Path:
        return self.folder / self.datalist[split][number - 1][role]

    def write(
        self, split: str, number: int, role: str, voxels: NDArray[Any], affine: NDArray[np.float64] = AFFINE
    ) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        stored = nibabel.Nifti1Image(voxels, affine)
        stored.header["descrip"] = f"{NAME} {RECORD}".encode()
        nibabel.save(stored, self.path(split, number, role))

    def read(self, split: str, number: int, role: str) -> NDArray[Any]:
        return np.asanyarray(nibabel.load(self.path(split, number, role)).dataobj)

    def change(self, role: str, change: Change, split: str = "training", number: int = 1) -> None:
        self.write(split, number, role, change(self.read(split, number, role)))

    def save(self) -> Path:
        """Write datalist.json and site.yaml; return the latter."""
        (self.folder / "datalist.json").write_text(json.dumps(self.datalist))
        contract = {"site": "hospital-a", "modality": self.modality, "data_root": ".", "labels": self.labels}
        (self.folder / "site.yaml").write_text(yaml.safe_dump(contract | {"device": "cpu"}))
        return self.folder / "site.yaml"


def draw_case(seed: int, modality: str = "CT") -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[14:21, 8:15, 5:11] = 1
    label[3:7, 5:10, 5:9] = 2
    label[14:17, 3:7, 1:5] = 3
    label[6:9, 3:7, 1:5] = 4
    air, body = (-1000, 40) if modality == "CT" else (3, 200)
    image = np.full(SHAPE, air, dtype=np.int16)
    image[2:-2, 2:-2] = body
    noise = rng.integers(0, 20, SHAPE)
    return (image + 10 * label.astype(np.int16) + noise).astype(np.int16), label

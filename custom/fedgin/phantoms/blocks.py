"""Sites of block phantoms: a bright or dark 'body' with two block organs, written as NIfTI in a few milliseconds.

They are for what asks about the machinery and not about images: benchmarks and tests.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
import yaml
from numpy.typing import NDArray

from fedgin.data.datalist import Split

ORGANS = ["liver", "spleen"]
# An ``experiment.yaml`` that trains on them in well under a second.
EXPERIMENT: dict[str, object] = {
    "name": "tiny",
    "organs": ORGANS,
    "preprocessing": {"spacing_mm": 10.0, "size": [32, 32]},
    "network": {"name": "unet", "params": {"channels": [4, 8], "residual_units": 0}},
    "training": {"local_steps": 2, "batch_size": 4},
}
SHAPE = (40, 36, 6)
AFFINE = np.diag([8.0, 8.0, 5.0, 1.0])


def make_volume(modality: str, seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return image [40, 36, 6] and label (1 liver, 2 spleen); organs move with the seed."""
    rng = np.random.default_rng(seed)
    shift = int(rng.integers(0, 4))
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[8 + shift : 18 + shift, 10:24, 1:5] = 1
    label[24 + shift : 31 + shift, 8:15, 2:5] = 2
    air, body, organs = (-1000.0, -90.0, (60.0, 140.0)) if modality == "CT" else (4.0, 300.0, (160.0, 420.0))
    image = np.full(SHAPE, air, dtype=np.float32)
    image[4:-3, 4:-4] = body
    for number, value in enumerate(organs, start=1):
        image[label == number] = value
    noise = rng.normal(0.0, 8.0, SHAPE).astype(np.float32)
    return np.abs(image + noise) if modality == "MR" else image + noise, label


def write_case(
    folder: Path, stem: str, image: NDArray[np.float32], label: NDArray[np.uint8], affine: NDArray[np.float64] = AFFINE
) -> dict[str, str]:
    """Write one image and label; return its datalist entry."""
    folder.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(image, affine), folder / f"{stem}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, affine), folder / f"{stem}_seg.nii.gz")
    return {"image": f"{stem}.nii.gz", "label": f"{stem}_seg.nii.gz"}


def write_block_site(
    folder: Path,
    name: str,
    modality: str = "CT",
    *,
    counts: Sequence[int] = (2, 1, 1),
    labels: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Path:
    """Write a site with training, validation and test cases; return its site.yaml."""
    labels = labels or {"liver": 1, "spleen": 2}
    splits: dict[str, list[dict[str, str]]] = {}
    number = 0
    for split, count in zip(Split, counts, strict=True):
        splits[split.value] = []
        for _ in range(count):
            image, label = make_volume(modality, seed + number)
            table = np.array([0, labels.get("liver", 0), labels.get("spleen", 0)], dtype=np.uint8)
            splits[split.value].append(write_case(folder, f"case{number}", image, table[label]))
            number += 1
    (folder / "datalist.json").write_text(json.dumps(splits))
    contract: dict[str, object] = {
        "site": name,
        "modality": modality,
        "data_root": ".",
        "labels": dict(labels),
        "device": "cpu",
    }
    # One thread everywhere: sums in another order differ in the last digits, and Adam makes them larger.
    contract["limits"] = {"cpu_threads": 1}
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(contract))
    return path

"""Lay out a CT and an MR site over folders of real cases: two ``site.yaml`` files and their datalists.

The abdomen's folders hold ``ct_NN.nii.gz`` (BTCV) or ``mr_NN.nii.gz`` (CHAOS) with ``seg_NN.nii.gz``, one subject a
file. The heart's hold ``PATIENT_SLICE_img.png`` with ``PATIENT_SLICE_seg.png`` (CHD68 and HVSMR-2.0). Nothing is
copied: each ``site.yaml`` points at its folder. Cases are split by subject in the order of a seeded shuffle.

    python poc/real_sites.py --ct DATA/abdomen_ct --mr DATA/abdomen_mr --out runs/real_sites
    fedgin demo --sites runs/real_sites --rounds 20 --out runs/real
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
import yaml

from fedgin.phantoms.task import Task

BTCV = [
    *("spleen", "right_kidney", "left_kidney", "gallbladder", "oesophagus", "liver", "stomach", "aorta"),
    *("inferior_vena_cava", "portal_and_splenic_vein", "pancreas", "right_adrenal", "left_adrenal"),
]
CHAOS = ["liver", "right_kidney", "left_kidney", "spleen"]
CHAMBERS = ["left_ventricle", "right_ventricle", "left_atrium", "right_atrium"]
CHD68 = [*CHAMBERS, "myocardium", "aorta", "pulmonary_artery"]
HVSMR = [*CHAMBERS, "aorta", "pulmonary_artery", "superior_vena_cava", "inferior_vena_cava"]
# The slices have lost their pixel size: 0.44 mm lets their 512 pixels fill the field of view of the heart jobs.
# CT is axial with the patient's left on the left. MR is sagittal with the front on the right, which no value of 'axes'
# can say: read like CT, it has the left ventricle on the same side of the right one, and nothing more in common.
HEART_PNG = {"pixel_mm": 0.44, "axes": "RP"}


@dataclass(frozen=True)
class Source:
    """A folder's data set.

    Attributes:
        modality: CT or MR.
        organs: in the order of their ids, from 1.
        images: pattern of the image files.
        counts: subjects in training and validation; the others are test subjects.
        png: pixel size and directions of PNG slices.
    """

    modality: str
    organs: list[str]
    images: str
    counts: dict[str, int]
    png: dict[str, object] | None = None


SOURCES = {
    Task.ABDOMEN: [
        Source("CT", BTCV, "ct_*.nii.gz", {"training": 9, "validation": 1}),
        Source("MR", CHAOS, "mr_*.nii.gz", {"training": 3, "validation": 2}),
    ],
    Task.HEART: [
        Source("CT", CHD68, "*_img.png", {"training": 4, "validation": 1}, HEART_PNG),
        Source("MR", HVSMR, "*_img.png", {"training": 2, "validation": 1}, HEART_PNG),
    ],
}


def main(
    ct: Annotated[Path, typer.Option(help="Folder of the CT cases.")],
    mr: Annotated[Path, typer.Option(help="Folder of the MR cases.")],
    out: Annotated[Path, typer.Option(help="Folder to write the sites to.")],
    task: Annotated[Task, typer.Option(help="Which data the folders hold.")] = Task.ABDOMEN,
    seed: Annotated[int, typer.Option(help="Of the shuffle.")] = 42,
) -> None:
    """Write OUT/ct-site and OUT/mr-site, each with site.yaml and datalist.json."""
    for source, data in zip(SOURCES[task], (ct, mr), strict=True):
        write_site(out / f"{source.modality.lower()}-site", source, data, seed)


def write_site(folder: Path, source: Source, data: Path, seed: int) -> None:
    """Write one site; subjects that are in no counted split are test subjects."""
    entries: dict[str, list[dict[str, str]]] = {}
    for image in sorted(data.glob(source.images)):
        entry = _entry(image)
        entries.setdefault(entry["patient"], []).append(entry)
    needed = sum(source.counts.values())
    if len(entries) <= needed:
        raise typer.BadParameter(f"{data} holds {len(entries)} subjects; more than {needed} are needed")
    folder.mkdir(parents=True, exist_ok=True)
    datalist = {
        split: [entry for patient in sorted(patients) for entry in entries[patient]]
        for split, patients in _split(list(entries), source.counts, seed).items()
    }
    (folder / "datalist.json").write_text(json.dumps(datalist, indent=2) + "\n", encoding="utf-8")
    contract = _contract(folder, source, data)
    (folder / "site.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")


def _split(patients: list[str], counts: dict[str, int], seed: int) -> dict[str, list[str]]:
    random.Random(seed).shuffle(patients)
    splits = {}
    for split, count in counts.items():
        splits[split], patients = patients[:count], patients[count:]
    return {**splits, "test": patients}


def _contract(folder: Path, source: Source, data: Path) -> dict[str, object]:
    contract: dict[str, object] = {
        "site": folder.name,
        "modality": source.modality,
        "data_root": str(data.resolve()),
        "datalist": str((folder / "datalist.json").resolve()),
        "cache_dir": str((folder / "cache").resolve()),
        "labels": {organ: number for number, organ in enumerate(source.organs, start=1)},
    }
    return contract if source.png is None else {**contract, "png": dict(source.png)}


def _entry(image: Path) -> dict[str, str]:
    if image.suffix == ".png":
        label = image.name.replace("_img.png", "_seg.png")
        return {"image": image.name, "label": label, "patient": image.name.split("_")[0]}
    number = image.name.removesuffix(".nii.gz").split("_")[1]
    return {"image": image.name, "label": f"seg_{number}.nii.gz", "patient": f"{image.name[:2]}-{number}"}


if __name__ == "__main__":
    typer.run(main)

"""Lay out a CT and an MR site over folders of BTCV and CHAOS cases: two ``site.yaml`` files and their datalists.

The folders hold ``ct_NN.nii.gz`` or ``mr_NN.nii.gz`` with ``seg_NN.nii.gz``, one subject a file. Nothing is copied:
each ``site.yaml`` points at its folder. Cases are split by subject in the order of a seeded shuffle.

    python poc/real_sites.py --ct DATA/abdomen_ct --mr DATA/abdomen_mr --out runs/real_sites
    fedgin demo --sites runs/real_sites --rounds 20 --out runs/real
"""

import json
import random
from pathlib import Path
from typing import Annotated

import typer
import yaml

BTCV = [
    *("spleen", "right_kidney", "left_kidney", "gallbladder", "oesophagus", "liver", "stomach", "aorta"),
    *("inferior_vena_cava", "portal_and_splenic_vein", "pancreas", "right_adrenal", "left_adrenal"),
]
CHAOS = ["liver", "right_kidney", "left_kidney", "spleen"]


def main(
    ct: Annotated[Path, typer.Option(help="Folder of the CT cases.")],
    mr: Annotated[Path, typer.Option(help="Folder of the MR cases.")],
    out: Annotated[Path, typer.Option(help="Folder to write the sites to.")],
    seed: Annotated[int, typer.Option(help="Of the shuffle.")] = 42,
) -> None:
    """Write OUT/ct-site and OUT/mr-site, each with site.yaml and datalist.json."""
    write_site(out / "ct-site", "CT", ct, BTCV, counts={"training": 9, "validation": 2}, seed=seed)
    write_site(out / "mr-site", "MR", mr, CHAOS, counts={"training": 3, "validation": 2}, seed=seed)


def write_site(folder: Path, modality: str, data: Path, organs: list[str], counts: dict[str, int], seed: int) -> None:
    """Write one site; subjects that are in no counted split are test subjects."""
    images = sorted(data.glob(f"{modality.lower()}_*.nii.gz"))
    if len(images) <= sum(counts.values()):
        raise typer.BadParameter(f"{data} holds {len(images)} cases; more than {sum(counts.values())} are needed")
    random.Random(seed).shuffle(images)
    splits, rest = {}, images
    for split, count in counts.items():
        splits[split], rest = rest[:count], rest[count:]
    splits["test"] = rest
    folder.mkdir(parents=True, exist_ok=True)
    datalist = {split: [_entry(image) for image in sorted(members)] for split, members in splits.items()}
    (folder / "datalist.json").write_text(json.dumps(datalist, indent=2) + "\n", encoding="utf-8")
    contract = {
        "site": folder.name,
        "modality": modality,
        "data_root": str(data.resolve()),
        "datalist": str((folder / "datalist.json").resolve()),
        "cache_dir": str((folder / "cache").resolve()),
        "labels": {organ: number for number, organ in enumerate(organs, start=1)},
    }
    (folder / "site.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")


def _entry(image: Path) -> dict[str, str]:
    number = image.name.removesuffix(".nii.gz").split("_")[1]
    return {"image": image.name, "label": f"seg_{number}.nii.gz", "patient": f"{image.name[:2]}-{number}"}


if __name__ == "__main__":
    typer.run(main)

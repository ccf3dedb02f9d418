"""Write whole phantom sites in the layout that real sites have, and the sites of the demo."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from fedgin.data.site import Modality
from fedgin.files import whole_file
from fedgin.phantoms.mr import Sequence
from fedgin.phantoms.subject import IN_PLANE_MM, write_subject
from fedgin.phantoms.task import Task

BTCV_IDS = {"spleen": 1, "right_kidney": 2, "left_kidney": 3, "gallbladder": 4, "liver": 6, "pancreas": 11}
TOTALSEGMENTATOR_IDS = {"spleen": 1, "right_kidney": 2, "left_kidney": 3, "gallbladder": 4, "liver": 5, "pancreas": 10}
CHAOS_IDS = {"liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4, "gallbladder": 5, "pancreas": 6}
"""Label numbering of three public data sets; CHAOS labels the first four organs, the other two ids are ours."""

_CHAMBERS = {"left_ventricle": 1, "right_ventricle": 2, "left_atrium": 3, "right_atrium": 4}
CHD68_IDS = {**_CHAMBERS, "myocardium": 5, "aorta": 6, "pulmonary_artery": 7}
TOTALSEGMENTATOR_HEART_IDS = {
    "aorta": 7,
    "myocardium": 44,
    "left_atrium": 45,
    "left_ventricle": 46,
    "right_atrium": 47,
    "right_ventricle": 48,
    "pulmonary_artery": 49,
}
HVSMR_IDS = {**_CHAMBERS, "aorta": 5, "pulmonary_artery": 6, "superior_vena_cava": 7, "inferior_vena_cava": 8}
"""The same for the heart; TotalSegmentator is version 1. The MR site labels no myocardium, the CT sites no veins."""


@dataclass(frozen=True)
class PhantomSite:
    """One site: how many subjects per split, and how it stores and numbers them.

    ``label_ids`` maps organ names to the ids in the label files, ``orientation`` are nibabel axis codes, ``sequence``
    applies to MR only, ``in_plane_mm`` is the voxel size within the slice, and ``task`` the region of the body.
    """

    name: str
    modality: Modality
    training: int
    validation: int
    test: int
    seed: int
    label_ids: dict[str, int]
    orientation: str = "LAS"
    sequence: Sequence = "t2w_spir"
    in_plane_mm: float = IN_PLANE_MM
    task: Task = Task.ABDOMEN


_DEMO_LABELS = {
    Task.ABDOMEN: (BTCV_IDS, TOTALSEGMENTATOR_IDS, CHAOS_IDS),
    Task.HEART: (CHD68_IDS, TOTALSEGMENTATOR_HEART_IDS, HVSMR_IDS),
}
_DEMO_SEQUENCE: dict[Task, Sequence] = {Task.ABDOMEN: "t2w_spir", Task.HEART: "bssfp"}


def demo_sites(task: Task, seed: int) -> list[PhantomSite]:
    """Return a task's federation: two CT sites and one MR site with few cases, each with its own conventions."""
    first, second, third = _DEMO_LABELS[task]
    sequence = _DEMO_SEQUENCE[task]
    return [
        PhantomSite("site-1", Modality.CT, 8, 2, 3, seed, first, "LAS", task=task),
        PhantomSite("site-2", Modality.CT, 6, 2, 3, seed, second, "RAS", task=task),
        PhantomSite("site-3", Modality.MR, 2, 2, 4, seed, third, "LPI", sequence, task=task),
    ]


def write_site(folder: Path, site: PhantomSite, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write all subjects of a site, then ``datalist.json``, then ``site.yaml``; return the path of the latter.

    Subjects that are there already are kept, so an interrupted run continues where it stopped.

    Args:
        folder: the site's data root.
        site: what to write.
        progress: called with (subjects done, subjects in total) after each subject.
    """
    splits: dict[str, list[dict[str, str]]] = {}
    total, done = site.training + site.validation + site.test, 0
    for split, count in (("training", site.training), ("validation", site.validation), ("test", site.test)):
        splits[split] = []
        for _ in range(count):
            done += 1
            splits[split].append(_write_entry(folder, site, done))
            if progress is not None:
                progress(done, total)
    heading = {"name": f"{site.name} (procedural phantoms, not patients)", "modality": site.modality.value}
    _write_text(folder / "datalist.json", json.dumps({**heading, **splits}, indent=2) + "\n")
    _write_text(folder / "site.yaml", yaml.safe_dump(_contract(site), sort_keys=False))
    return folder / "site.yaml"


def _write_entry(folder: Path, site: PhantomSite, index: int) -> dict[str, str]:
    image, label = write_subject(
        folder,
        site.modality,
        site.name,
        index,
        site.seed,
        site.label_ids,
        site.orientation,
        site.sequence,
        site.in_plane_mm,
        site.task,
    )
    files = {"image": image.relative_to(folder).as_posix(), "label": label.relative_to(folder).as_posix()}
    return {**files, "patient": image.name.removesuffix(".nii.gz")}


def _contract(site: PhantomSite) -> dict[str, object]:
    return {
        "site": site.name,
        "modality": site.modality.value,
        "data_root": ".",
        "datalist": "datalist.json",
        "labels": dict(site.label_ids),
    }


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")

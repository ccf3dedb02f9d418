"""Write whole phantom sites in the layout that real sites have: those of the demo, and centres that differ."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import yaml

from fedgin.data.importers.label_ids import (
    BTCV_IDS,
    CHAOS_IDS,
    CHD68_IDS,
    HVSMR_IDS,
    TOTALSEGMENTATOR_HEART_IDS,
    TOTALSEGMENTATOR_IDS,
)
from fedgin.data.site import Modality
from fedgin.files import write_text
from fedgin.folders import claimed_folder
from fedgin.phantoms.mr import Sequence
from fedgin.phantoms.scanner import draw_scanner
from fedgin.phantoms.subject import PhantomSite, write_subject
from fedgin.phantoms.task import Task

ABDOMEN_ORGANS = ("spleen", "right_kidney", "left_kidney", "gallbladder", "liver", "pancreas")
BTCV_LABELS = {organ: BTCV_IDS[organ] for organ in ABDOMEN_ORGANS}
CHAOS_LABELS = {**CHAOS_IDS, "gallbladder": 5, "pancreas": 6}
"""The organs that a phantom has, numbered as in these data sets; CHAOS has four of them, the other two ids are ours."""

_DEMO_LABELS: dict[Task, tuple[dict[str, int], dict[str, int], dict[str, int]]] = {
    Task.ABDOMEN: (BTCV_LABELS, TOTALSEGMENTATOR_IDS, CHAOS_LABELS),
    # The MR site labels no myocardium, the CT sites no veins.
    Task.HEART: (CHD68_IDS, TOTALSEGMENTATOR_HEART_IDS, HVSMR_IDS),
}
DEMO_SEQUENCE: dict[Task, Sequence] = {Task.ABDOMEN: "t2w_spir", Task.HEART: "bssfp"}


def demo_sites(task: Task, seed: int) -> list[PhantomSite]:
    """Return a task's federation: ten CT patients train at two sites, one MR patient at a third.

    MR is scarce, as in the paper's question. Each site has its own conventions.
    """
    first, second, third = _DEMO_LABELS[task]
    sequence = DEMO_SEQUENCE[task]
    return [
        PhantomSite("site-1", Modality.CT, 5, 2, 3, seed, first, "LAS", task=task),
        PhantomSite("site-2", Modality.CT, 5, 2, 3, seed, second, "RAS", task=task),
        PhantomSite("site-3", Modality.MR, 1, 2, 6, seed, third, "LPI", sequence, task=task),
    ]


def centres(count: int, seed: int) -> list[PhantomSite]:
    """Return centres of the abdomen that differ as hospitals do: CT and MR in turn, each with a scanner of its own.

    Args:
        count: number of centres, at least 2.
        seed: the seed of the data set.
    """
    labels, orientations = _DEMO_LABELS[Task.ABDOMEN], ("LAS", "RAS", "LPI")
    sites = []
    for number in range(count):
        scanner, variant = draw_scanner(seed, number), (number // 2) % 3
        name, size = f"centre-{number + 1}", (4, 2, 4)
        sites.append(
            PhantomSite(name, scanner.modality, *size, seed, labels[variant], orientations[variant], scanner=scanner)
        )
    return sites


def write_site(folder: Path, site: PhantomSite, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write all subjects of a site, then ``datalist.json``, then ``site.yaml``; return the path of the latter.

    Subjects that are there already are kept, so an interrupted run continues where it stopped.

    Args:
        folder: the site's data root.
        site: what to write.
        progress: called with (subjects done, subjects in total) after each subject.

    Raises:
        FolderError: ``folder`` holds what is no phantom of this site, or those of another task, seed, size or scanner.
    """
    claimed_folder(folder, _mark_of(site))
    splits: dict[str, list[dict[str, str]]] = {}
    total, done = site.training + site.validation + site.test, 0
    for split, count in (("training", site.training), ("validation", site.validation), ("test", site.test)):
        splits[split] = []
        for _ in range(count):
            done += 1
            splits[split].append(_write_entry(folder, site, done))
            if progress is not None:
                progress(done, total)
    heading: dict[str, object] = {"name": f"{site.name} (procedural phantoms, not patients)"}
    heading["modality"] = site.modality.value
    if site.scanner:
        heading["scanner"] = site.scanner.described()
    write_text(folder / "datalist.json", json.dumps({**heading, **splits}, indent=2) + "\n")
    stated = f"# Scanner: {json.dumps(site.scanner.described())}\n" if site.scanner else ""
    write_text(folder / "site.yaml", stated + yaml.safe_dump(_contract(site), sort_keys=False))
    return folder / "site.yaml"


def _mark_of(site: PhantomSite) -> str:
    """Return what the folder of a site holds; files are kept by their names, which are those of any other seed."""
    rest = hashlib.sha256(repr(site).encode()).hexdigest()[:8]
    return f"phantoms of {site.name}, {site.task}, seed {site.seed} ({rest})"


def _write_entry(folder: Path, site: PhantomSite, index: int) -> dict[str, str]:
    image, label = write_subject(folder, site, index)
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

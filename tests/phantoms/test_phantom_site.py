import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

from fedgin.data.datalist import Split, list_cases
from fedgin.data.site import Modality, load_site
from fedgin.folders import FolderError
from fedgin.phantoms.scanner import draw_scanner
from fedgin.phantoms.site import CHAOS_LABELS, demo_sites, write_site
from fedgin.phantoms.subject import PhantomSite
from fedgin.phantoms.task import Task
from fedgin.train.experiment import load_experiment
from tests.places import JOBS

SMALL = PhantomSite("site-3", Modality.MR, 2, 1, 1, 5, CHAOS_LABELS, "LPI", in_plane_mm=8.0)


def test_a_site_is_complete_and_the_contract_reads_it(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    contract = load_site(write_site(tmp_path, SMALL, lambda done, total: calls.append((done, total))))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (contract.site, contract.modality, contract.labels) == ("site-3", Modality.MR, CHAOS_LABELS)
    cases = list_cases(contract)
    assert [len(cases[split]) for split in (Split.TRAINING, Split.VALIDATION, Split.TEST)] == [2, 1, 1]
    for case in [case for split in cases.values() for case in split]:
        labels = np.unique(np.asarray(nib.load(case.label).dataobj))
        assert set(labels) == {0, *CHAOS_LABELS.values()}


def test_the_files_have_the_agreed_keys(tmp_path: Path) -> None:
    written = write_site(tmp_path, SMALL)
    assert yaml.safe_load(written.read_text()) == {
        "site": "site-3",
        "modality": "MR",
        "data_root": ".",
        "datalist": "datalist.json",
        "labels": CHAOS_LABELS,
    }
    datalist = json.loads((tmp_path / "datalist.json").read_text())
    assert list(datalist) == ["name", "modality", "training", "validation", "test"]
    files = {"image": "images/phantom_abdomen_mr_004.nii.gz", "label": "labels/phantom_abdomen_mr_004_seg.nii.gz"}
    assert datalist["test"] == [{**files, "patient": "phantom_abdomen_mr_004"}]


def test_a_killed_run_has_no_datalist_and_continues(tmp_path: Path) -> None:
    def killed(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_site(tmp_path, SMALL, killed)
    assert not (tmp_path / "datalist.json").exists()
    assert not (tmp_path / "site.yaml").exists()
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nii.gz")}
    assert len(stamps) == 4
    write_site(tmp_path, SMALL)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert len(list(tmp_path.rglob("*.nii.gz"))) == 8


@pytest.mark.parametrize(
    "change",
    [{"seed": 6}, {"task": Task.HEART}, {"training": 3}, {"in_plane_mm": 5.0}, {"scanner": draw_scanner(5, 1)}],
)
def test_subjects_of_two_sites_are_never_in_one_folder(tmp_path: Path, change: dict[str, Any]) -> None:
    def killed(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_site(tmp_path, SMALL, killed)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FolderError, match=r"holds phantoms of site-3, abdomen, seed 5 .*Fix: choose another folder"):
        write_site(tmp_path, replace(SMALL, **change))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("task", list(Task))
def test_a_demo_has_two_ct_sites_and_a_small_mr_site(task: Task) -> None:
    sites = demo_sites(task, 3)
    assert [site.modality for site in sites] == [Modality.CT, Modality.CT, Modality.MR]
    assert len({site.name for site in sites}) == 3
    assert len({tuple(site.label_ids.items()) for site in sites}) == 3
    assert len({site.orientation for site in sites}) == 3
    assert sites[2].training < min(sites[0].training, sites[1].training)
    assert {(site.seed, site.task) for site in sites} == {(3, task)}


@pytest.mark.parametrize("task", list(Task))
def test_every_site_of_a_demo_labels_what_the_jobs_segment(task: Task) -> None:
    organs = set(load_experiment(JOBS / f"{task}_fedgin" / "app" / "config" / "experiment.yaml").organs)
    assert all(organs <= set(site.label_ids) for site in demo_sites(task, 3))

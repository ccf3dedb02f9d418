"""Real CT and MR cases through the whole of a site's part in a round."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split, list_cases, read_datalist
from fedgin.data.importers.paired_files import PairedFolder, write_paired_site
from fedgin.data.native_labels import to_native_labels
from fedgin.data.site import load_site
from fedgin.data.volumes import map_organs, read_label
from fedgin.flare.jobs.job import load_job
from fedgin.nets.registry import build_network
from fedgin.phantoms.task import Task
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.site.session import SiteSession
from poc.real_sites import SOURCES
from tests.places import JOBS
from tests.real_data import real_data

SITES = [(task, modality) for task in Task for modality in ("CT", "MR")]


def lay_out(folder: Path, task: Task, modality: str) -> PairedFolder:
    [source] = [source for source in SOURCES[task] if source.modality == modality]
    form = "" if task is Task.ABDOMEN else "_slices"
    write_paired_site(folder, source, real_data(f"{task}_{modality.lower()}{form}"), seed=42)
    return source


def open_session(folder: Path, task: Task, modality: str) -> SiteSession:
    """Use one real volume, or four slices, in each split."""
    lay_out(folder, task, modality)
    count = 1 if task is Task.ABDOMEN else 4
    datalist = folder / "datalist.json"
    splits = json.loads(datalist.read_text()).items()
    datalist.write_text(json.dumps({split: cases[:count] for split, cases in splits}))
    training = {"local_steps": 2, "batch_size": 4}
    experiment = load_job(JOBS / f"{task}_fedgin").experiment
    experiment = type(experiment).model_validate(experiment.model_dump(mode="json") | {"training": training})
    return SiteSession(experiment, load_site(folder / "site.yaml"), folder / "run")


Sessions = Callable[[Task, str], SiteSession]


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Sessions:
    """Open the session of a site once for all tests: to prepare a real volume takes longer than all they do with it."""

    @functools.cache
    def opened(task: Task, modality: str) -> SiteSession:
        return open_session(tmp_path_factory.mktemp(f"{task}_{modality}"), task, modality)

    return opened


def organs_in(case: CachedCase) -> set[str]:
    present = np.unique(case.read("label").numpy())
    return {organ for number, organ in enumerate(case.organs, start=1) if number in present}


@pytest.mark.parametrize(("task", "modality"), SITES)
def test_a_round_on_real_cases(sessions: Sessions, task: Task, modality: str) -> None:
    session = sessions(task, modality)
    experiment = session.experiment
    weights = averaged_weights(
        build_network(experiment.network, spatial_dims=2, out_channels=experiment.classes, seed=1)
    )
    update = session.train(weights, 0, 1, stop=lambda: False)
    assert all(torch.isfinite(value).all() for value in update.difference.values())
    found = {key.removeprefix("val_dice_") for key in update.metrics if key.startswith("val_dice_")} - {"mean"}
    shown = {organ for case in session.data.cases[Split.VALIDATION] for organ in organs_in(case)}
    assert found == shown <= set(experiment.organs)


@pytest.mark.parametrize(("task", "modality"), SITES)
def test_every_subject_is_in_one_split_and_mr_is_scarce(tmp_path: Path, task: Task, modality: str) -> None:
    source = lay_out(tmp_path, task, modality)
    datalist = read_datalist(tmp_path / "datalist.json")
    splits = {split: {entry.patient for entry in getattr(datalist, split)} for split in Split}
    assert sum(len(patients) for patients in splits.values()) == len(set().union(*splits.values()))
    assert (len(splits[Split.TRAINING]), len(splits[Split.VALIDATION])) == (source.training, source.validation)
    assert len(splits[Split.TEST]) >= 2
    ct, mr = SOURCES[task]
    assert mr.training <= ct.training / 2
    images = [entry.image for split in Split for entry in getattr(datalist, split)]
    assert len(images) == len(list(load_site(tmp_path / "site.yaml").data_root.glob(source.images)))


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_left_ventricle_is_left_of_the_right_one(tmp_path: Path, modality: str) -> None:
    lay_out(tmp_path, Task.HEART, modality)
    contract = load_site(tmp_path / "site.yaml")
    offsets = []
    for case in [case for cases in list_cases(contract).values() for case in cases]:
        label = read_label(case)
        left, right = (label.voxels == contract.labels[f"{side}_ventricle"] for side in ("left", "right"))
        if left.any() and right.any():
            offsets.append((np.argwhere(left)[:, 0].mean() - np.argwhere(right)[:, 0].mean()) * label.affine[0, 0])
    assert len(offsets) > 10
    # In CT slices through one end of a deformed heart the two lie behind each other.
    assert np.median(offsets) < -5, "the canonical x axis points right"
    assert np.mean(np.array(offsets) < 0) > 0.85


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_real_labels_survive_the_way_to_the_canonical_grid_and_back(sessions: Sessions, modality: str) -> None:
    session = sessions(Task.ABDOMEN, modality)
    case = session.data.cases[Split.TRAINING][0]
    classes = session.experiment.classes
    one_hot = torch.nn.functional.one_hot(case.read("label").long(), classes).permute(3, 0, 1, 2).float()
    returned = to_native_labels(one_hot, case.affine, case.native)
    reference = map_organs(case.case, read_label(case.case), list(case.organs))
    for number, organ in enumerate(case.organs, start=1):
        if organ in ("liver", "spleen", "right_kidney", "left_kidney"):
            ours, theirs = returned == number, reference == number
            assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.9, organ


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_liver_is_on_the_right_and_inside_the_body(sessions: Sessions, modality: str) -> None:
    session = sessions(Task.ABDOMEN, modality)
    case = session.data.cases[Split.TRAINING][0]
    label, body = case.read("label").numpy(), case.read("body").numpy()
    liver, spleen = (label == 1 + case.organs.index(organ) for organ in ("liver", "spleen"))
    assert np.argwhere(liver)[:, 1].mean() > np.argwhere(spleen)[:, 1].mean(), "the canonical x axis points right"
    assert body[label > 0].mean() > 0.99

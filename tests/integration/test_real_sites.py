"""Real CT and MR cases through the whole of a site's part in a round."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fedgin.data.datalist import Split
from fedgin.data.preprocessing import to_native_labels
from fedgin.data.site import load_site
from fedgin.data.volumes import map_organs, read_label
from fedgin.flare.job import load_job
from fedgin.nets import build_network
from fedgin.train.checkpoint import travelling_weights
from fedgin.train.session import SiteSession
from poc.real_sites import BTCV, CHAOS, write_site
from tests.real_data import real_data

ORGANS = {"CT": BTCV, "MR": CHAOS}
JOB = Path(__file__).resolve().parents[2] / "jobs" / "abdomen_fedgin"


def open_session(folder: Path, modality: str) -> SiteSession:
    """Use one real case in each split."""
    data = real_data(f"abdomen_{modality.lower()}")
    write_site(folder, modality, data, ORGANS[modality], counts={"training": 1, "validation": 1}, seed=42)
    datalist = folder / "datalist.json"
    datalist.write_text(json.dumps({split: cases[:1] for split, cases in json.loads(datalist.read_text()).items()}))
    training = {"local_steps": 2, "batch_size": 4}
    experiment = load_job(JOB).experiment
    experiment = type(experiment).model_validate(experiment.model_dump(mode="json") | {"training": training})
    return SiteSession(experiment, load_site(folder / "site.yaml"), folder / "run")


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_round_on_real_cases(tmp_path: Path, modality: str) -> None:
    session = open_session(tmp_path, modality)
    experiment = session.experiment
    weights = travelling_weights(build_network(experiment.network, out_channels=experiment.classes, seed=1))
    update = session.train(weights, 0, 1, stop=lambda: False)
    assert all(torch.isfinite(value).all() for value in update.difference.values())
    labelled = {key.removeprefix("val_dice_") for key in update.metrics if key.startswith("val_dice_")} - {"mean"}
    assert labelled == set(experiment.organs) & set(ORGANS[modality])


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_real_labels_survive_the_way_to_the_canonical_grid_and_back(tmp_path: Path, modality: str) -> None:
    session = open_session(tmp_path, modality)
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
def test_the_liver_is_on_the_right_and_inside_the_body(tmp_path: Path, modality: str) -> None:
    session = open_session(tmp_path, modality)
    case = session.data.cases[Split.TRAINING][0]
    label, body = case.read("label").numpy(), case.read("body").numpy()
    liver, spleen = (label == 1 + case.organs.index(organ) for organ in ("liver", "spleen"))
    assert np.argwhere(liver)[:, 1].mean() > np.argwhere(spleen)[:, 1].mean(), "the canonical x axis points right"
    assert body[label > 0].mean() > 0.99

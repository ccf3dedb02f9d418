"""What a site does in a federation, in 3D: the same code as for slices, on patches of volumes."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from fedgin.data.datalist import Split
from fedgin.data.site import load_site
from fedgin.nets.dsbn import branch_entries
from fedgin.nets.normalisation import batch_norm_entries
from fedgin.train.batches import RoundPlan
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.experiment import Experiment
from fedgin.train.site.session import SiteSession
from fedgin.train.trainer import Trainer
from tests.sites import tiny_volumes, write_site


def experiment_for(normalisation: str = "instance", **changes: Any) -> Experiment:
    network = {"name": "unet", "normalisation": normalisation, "params": {"channels": [4, 8], "residual_units": 0}}
    return tiny_volumes(network=network, **changes)


def open_session(folder: Path, experiment: Experiment, privacy: dict[str, Any] | None = None) -> SiteSession:
    path = folder / "data" / "site.yaml"
    if not path.exists():
        write_site(folder / "data", "site-1", "MR")
    values = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(values | ({"privacy": privacy} if privacy else {})))
    return SiteSession(experiment, load_site(path), folder / "run")


def initial(experiment: Experiment) -> dict[str, Tensor]:
    return averaged_weights(experiment.initial_network())


def never() -> bool:
    return False


@pytest.mark.parametrize("normalisation", ["instance", "dsbn", "fedbn"])
def test_a_site_trains_sends_and_scores_volumes(tmp_path: Path, normalisation: str) -> None:
    """Its own branches of DSBN leave it, the other modality's and FedBN's layers do not; a new process goes on."""
    experiment = experiment_for(normalisation)
    session, received = open_session(tmp_path, experiment), initial(experiment)
    update = session.train(received, 0, 2, stop=never)
    network = session.trainer.network
    withheld = {"dsbn": branch_entries(network, "CT"), "fedbn": batch_norm_entries(network)}.get(normalisation, set())
    assert set(update.difference) == received.keys() - withheld
    assert any(bool(value.abs().max() > 0) for value in update.difference.values())
    weights = {name: value + update.difference.get(name, 0.0) for name, value in received.items()}
    again = [item.train(weights, 1, 2, stop=never) for item in (session, open_session(tmp_path, experiment))]
    assert all(torch.equal(value, again[1].difference[name]) for name, value in again[0].difference.items())
    metrics = session.validate(session.local_model(), "last", stop=never)
    assert 0.0 <= metrics["test_dice_mean"] <= 1.0
    assert update.trained["of_slices"] == 2 * 6 == update.weight


@pytest.mark.parametrize("name", ["gin", "fmaug", "ipa", "raffesdg", "slaug"])
def test_a_round_of_patches_is_repeatable_with_each_kind_of_method(tmp_path: Path, name: str) -> None:
    experiment = experiment_for(augmentation={"name": name})
    cases = open_session(tmp_path, experiment).data.cases[Split.TRAINING]
    results = [
        Trainer(experiment.initial_network(), experiment, torch.device("cpu")).train_round(
            cases, RoundPlan("site-1", 0, 1)
        )
        for _ in range(2)
    ]
    assert results[0] == results[1]
    assert (results[0].steps, results[0].fallbacks) == (2, 0)
    assert (results[0].cases, results[0].slices) == (2, 12), "a patch is as thick as the volume"


def test_an_update_of_volumes_is_clipped_and_thinned_as_the_site_asks(tmp_path: Path) -> None:
    privacy = {"clip_norm": 0.01, "keep_largest_percent": 50.0}
    experiment = experiment_for()
    update = open_session(tmp_path, experiment, privacy).train(initial(experiment), 0, 1, stop=never)
    sent = torch.cat([value.flatten() for value in update.difference.values()])
    assert 0.005 < float(sent.norm()) <= 0.01
    assert int((sent != 0).sum()) <= (len(sent) + 1) // 2


def test_training_holds_patches_however_long_the_volume_is(tmp_path: Path) -> None:
    experiment = experiment_for(training={"local_steps": 1, "batch_size": 3})
    session = open_session(tmp_path, experiment)
    [batch] = session.trainer.batches(session.data.cases[Split.TRAINING], RoundPlan("site-1", 0, 1))
    assert batch["image"].shape == batch["label"].shape == batch["body"].shape == (3, 1, 16, 16, 16)
    assert session.data.cases[Split.TRAINING][0].shape[1] > 16


def test_a_network_with_deep_supervision_trains_and_segments_volumes(tmp_path: Path) -> None:
    network = {"name": "segresnet_ds", "params": {"init_filters": 8}}
    experiment = tiny_volumes(network=network, training={"local_steps": 1, "batch_size": 1})
    session, received = open_session(tmp_path, experiment), initial(experiment)
    update = session.train(received, 0, 1, stop=never)
    moved = {name.partition(".")[0] for name, value in update.difference.items() if bool(value.abs().max() > 0)}
    assert {name.partition(".")[0] for name in received} == moved
    assert 0.0 <= update.metrics["val_dice_mean"] <= 1.0

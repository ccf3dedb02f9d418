"""A FedBN arm is tested at each site with the layers that stayed there."""

from pathlib import Path

import pytest
import torch

from fedgin.data.prepare import prepare_site
from fedgin.data.site import Modality, load_site
from fedgin.errors import WeightsError
from fedgin.flare.jobs.job import load_job, stage_job
from fedgin.nets.settings import Normalisation
from fedgin.study.arm_result import load_network, run_arm
from fedgin.study.arms import Arm, FederatedArm, PooledArm
from fedgin.train.checkpoint import averaged_weights, save_checkpoint
from fedgin.train.site.sent_entries import local_entries
from tests.places import JOBS
from tests.sites import tiny_experiment, write_site


def make_arm(folder: Path, normalisation: Normalisation, rounds: int = 1) -> FederatedArm:
    tiny = tiny_experiment(network={"normalisation": normalisation, "params": {"channels": [4, 8]}})
    changes = tiny.model_dump(mode="json", include={"organs", "preprocessing", "network", "training"})
    job = stage_job(load_job(JOBS / "abdomen_fedavg"), folder / "job", sites=2, rounds=rounds, changes=changes)
    return FederatedArm(normalisation, normalisation, job)


def save_model(arm: Arm, folder: Path, sites: dict[str, float]) -> Path:
    """Write the arm's initial model, and for each site staying entries that all have one value."""
    network = arm.experiment.initial_network()
    save_checkpoint(folder / "model.pt", {"model": averaged_weights(network)})
    for site, value in sites.items():
        names = local_entries(network, "fedbn")
        entries = {name: torch.full_like(network.state_dict()[name], value) for name in names}
        save_checkpoint(folder / f"local_layers_{site}.pt", {"round": 0, "before": {}, "model": entries})
    return folder / "model.pt"


def test_each_site_gets_its_own_layers_and_shares_the_rest(tmp_path: Path) -> None:
    arm = make_arm(tmp_path, "fedbn")
    model = save_model(arm, tmp_path, {"a": 2.0, "b": 3.0})
    first, second = (load_network(arm, model, site).state_dict() for site in ("a", "b"))
    staying = local_entries(arm.experiment.initial_network(), "fedbn")
    for name, value in first.items():
        if name in staying:
            assert (float(value.mean()), float(second[name].mean())) == (2.0, 3.0)
        else:
            assert torch.equal(value, second[name])


def test_a_site_whose_layers_are_missing_is_not_tested_with_others(tmp_path: Path) -> None:
    arm = make_arm(tmp_path, "fedbn")
    model = save_model(arm, tmp_path, {"a": 2.0})
    with pytest.raises(WeightsError, match=r"local_layers_b\.pt does not exist"):
        load_network(arm, model, "b")


def test_files_of_an_earlier_run_do_not_change_an_arm_that_shares_everything(tmp_path: Path) -> None:
    pooled = PooledArm("mr", "MR", make_arm(tmp_path, "fedbn").experiment, (Modality.MR,), 1)
    for arm in (make_arm(tmp_path, "batch"), pooled):
        model = save_model(arm, tmp_path, {"a": 2.0})
        expected = arm.experiment.initial_network().state_dict()
        assert all(
            torch.equal(value, expected[name]) for name, value in load_network(arm, model, "a").state_dict().items()
        )


@pytest.mark.flare
def test_a_simulated_arm_leaves_each_sites_layers_next_to_its_model(tmp_path: Path) -> None:
    arm = make_arm(tmp_path, "fedbn", rounds=2)
    settings = arm.experiment
    sites = {
        name: prepare_site(
            load_site(write_site(tmp_path / name, name, modality)), settings.preprocessing, settings.organs
        )
        for name, modality in (("ct-a", "CT"), ("mr-a", "MR"))
    }
    result = run_arm(arm, sites, tmp_path / "arms", lambda _arm, _point: None)
    assert {score.site for score in result.scores} == set(sites)
    first, second = (load_network(arm, result.model, site).state_dict() for site in sites)
    staying = local_entries(arm.experiment.initial_network(), "fedbn")
    assert all(torch.equal(first[name], second[name]) for name in first if name not in staying and "num_" not in name)
    assert all(not torch.equal(first[name], second[name]) for name in staying if "running" in name)

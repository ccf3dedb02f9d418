from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from fedgin.data.datalist import Split
from fedgin.data.limits import LimitError
from fedgin.data.native_labels import to_native_labels
from fedgin.data.site import load_site
from fedgin.data.volumes import read_label
from fedgin.errors import ConfigError, DataError, WeightsError
from fedgin.nets.registry import build_network
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.evaluate.scores import read_scores
from fedgin.train.experiment import Experiment
from fedgin.train.site.session import SiteSession
from fedgin.train.site.update import InterruptedTaskError
from tests.sites import tiny_experiment, write_site


def open_session(
    folder: Path, experiment: Experiment | None = None, counts: tuple[int, int, int] = (2, 1, 1)
) -> SiteSession:
    path = folder / "data" / "site.yaml"
    if not path.exists():
        write_site(folder / "data", "site-1", "MR", counts=counts)
    return SiteSession(experiment or tiny_experiment(), load_site(path), folder / "run")


def initial(experiment: Experiment | None = None) -> dict[str, Tensor]:
    experiment = experiment or tiny_experiment()
    return averaged_weights(build_network(experiment.network, spatial_dims=2, out_channels=3, seed=experiment.seed))


def never() -> bool:
    return False


def add(weights: dict[str, Tensor], difference: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weights[name] + difference[name] for name in weights}


def test_metrics_are_of_the_received_model_and_the_difference_of_the_trained_one(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    received = initial()
    metrics = session.validate(received, "before", stop=never)
    update = session.train(received, 0, 3, stop=never)
    assert set(update.difference) == set(received)
    assert any(bool(value.abs().max() > 0) for value in update.difference.values())
    trained = session.local_model()
    for name, value in add(received, update.difference).items():
        torch.testing.assert_close(value, trained[name])
    assert 0.0 <= update.metrics["val_dice_mean"] <= 1.0
    assert set(metrics) >= {"test_dice_mean", "test_cases", "test_dice_liver"}


@pytest.mark.parametrize("quality", [True, False])
def test_the_share_of_refused_draws_is_a_metric_where_draws_are_judged(tmp_path: Path, quality: bool) -> None:
    experiment = tiny_experiment(augmentation={"name": "gin", "quality": quality})
    metrics = open_session(tmp_path, experiment).train(initial(experiment), 0, 3, stop=never).metrics
    assert ("augmentation_refused" in metrics) == quality
    assert 0.0 <= metrics.get("augmentation_refused", 0.0) < 1.0


@pytest.mark.parametrize(
    "training",
    [
        {"local_steps": 2, "optimizer_state": "keep"},
        {"local_steps": 2, "optimizer_state": "reset"},
        {"local_epochs": 1, "schedule": "plateau"},
    ],
)
def test_a_new_process_for_each_task_gives_the_same_weights(tmp_path: Path, training: dict[str, object]) -> None:
    experiment = tiny_experiment(training={"batch_size": 4} | training)
    results = []
    for fresh in (False, True):
        folder = tmp_path / str(fresh)
        session, weights = open_session(folder, experiment), initial(experiment)
        for number in range(3):
            if fresh:
                session = open_session(folder, experiment)
            weights = add(weights, session.train(weights, number, 3, stop=never).difference)
        results.append(torch.cat([value.flatten() for value in weights.values()]))
    assert torch.equal(*results)


def test_keeping_the_optimiser_differs_from_resetting_it(tmp_path: Path) -> None:
    results = []
    for keep in ("keep", "reset"):
        experiment = tiny_experiment(training={"local_steps": 2, "batch_size": 4, "optimizer_state": keep})
        session, weights = open_session(tmp_path / keep, experiment), initial(experiment)
        for number in range(2):
            weights = add(weights, session.train(weights, number, 2, stop=never).difference)
        results.append(torch.cat([value.flatten() for value in weights.values()]))
    assert not torch.equal(*results)


@pytest.mark.parametrize(("weighting", "weight"), [("uniform", 1.0), ("samples", 12.0), ("modality_balanced", 12.0)])
def test_the_weight_is_what_the_experiment_asks_for(tmp_path: Path, weighting: str, weight: float) -> None:
    experiment = tiny_experiment(federation={"client_weighting": weighting})
    assert open_session(tmp_path, experiment).train(initial(), 0, 1, stop=never).weight == weight


def test_an_abort_keeps_nothing_of_the_round(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    with pytest.raises(InterruptedTaskError):
        session.train(initial(), 0, 1, stop=lambda: True)
    with pytest.raises(WeightsError, match=r"local_model\.pt does not exist"):
        session.local_model()


def test_an_aborted_epoch_keeps_nothing_and_a_longer_one_than_the_site_allows_is_refused(tmp_path: Path) -> None:
    """Twelve slices in batches of four are three steps a pass."""
    experiment = tiny_experiment(training={"local_epochs": 2, "batch_size": 4})
    session = open_session(tmp_path, experiment)
    answers = iter([False] * 6)
    with pytest.raises(InterruptedTaskError):
        session.train(initial(), 0, 1, stop=lambda: next(answers, True))
    assert session.train(initial(), 0, 1, stop=never).weight == 12.0
    limits = session.contract.limits.model_copy(update={"local_steps": 5})
    with pytest.raises(LimitError, match=r"site site-1: a round would have 6 steps \(at most 5\)"):
        SiteSession(experiment, session.contract.model_copy(update={"limits": limits}), tmp_path / "run")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    with pytest.raises(WeightsError, match="site site-1, global model of round 1"):
        session.train({"w": torch.zeros(2)}, 0, 1, stop=never)


def test_a_round_that_is_asked_for_again_gives_the_same_update(tmp_path: Path) -> None:
    """FLARE repeats a task whose answer got lost; a resumed run goes back a round."""
    session, weights = open_session(tmp_path), initial()
    received = []
    for number in range(4):
        received.append(weights)
        weights = add(weights, session.train(weights, number, 4, stop=never).difference)
    for fresh in (session, open_session(tmp_path)):
        again = add(received[3], fresh.train(received[3], 3, 4, stop=never).difference)
        assert all(torch.equal(again[name], weights[name]) for name in weights)
    assert sorted(path.name for path in (tmp_path / "run").glob("optimizer*")) == [
        "optimizer_round_0002.pt",
        "optimizer_round_0003.pt",
    ]


def test_scores_of_every_round_stay_at_the_site(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    session.train(initial(), 0, 1, stop=never)
    session.validate(initial(), "SRV_best", stop=never)
    folder = tmp_path / "run" / "scores"
    assert sorted(path.name for path in folder.iterdir()) == ["test_of_SRV_best.csv", "validation_round_0000.csv"]
    assert read_scores(folder / "validation_round_0000.csv")[0].organ == "liver"


def test_without_test_cases_validation_cases_are_used_and_named(tmp_path: Path) -> None:
    session = open_session(tmp_path, counts=(2, 1, 0))
    assert "val_dice_mean" in session.validate(initial(), "m", stop=never)


def test_one_organ_is_trained_and_tested_as_foreground_against_the_rest(tmp_path: Path) -> None:
    experiment = tiny_experiment(organs=["spleen"])
    session = open_session(tmp_path, experiment)
    [case] = session.data.cases[Split.VALIDATION]
    # The site's label file holds the liver too; here it is background.
    theirs = read_label(case.case).voxels == session.contract.labels["spleen"]
    ours = case.read("label")
    assert set(ours.flatten().tolist()) == {0, 1}
    returned = to_native_labels(one_hot(ours.long(), 2).permute(3, 0, 1, 2).float(), case.affine, case.native)
    assert 2 * (returned & theirs).sum() / (returned.sum() + theirs.sum()) > 0.85
    weights = averaged_weights(experiment.initial_network())
    update = session.train(weights, 0, 1, stop=never)
    tested = session.validate(add(weights, update.difference), "SRV_best", stop=never)
    assert {key for key in tested if key.startswith("test_dice")} == {"test_dice_mean", "test_dice_spleen"}


def test_a_site_that_labels_none_of_the_organs_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="site site-1 labels none of pancreas"):
        open_session(tmp_path, tiny_experiment(organs=["pancreas"]))


def test_scores_that_cannot_be_written_are_told_without_a_path(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    session.folder.mkdir(exist_ok=True)
    (session.folder / "scores").write_text("a file in the folder's place")
    with pytest.raises(DataError, match=r"site-1: validation_round_0000.csv cannot be written") as caught:
        session.train(initial(), 0, 3, stop=never)
    assert str(tmp_path) not in str(caught.value)

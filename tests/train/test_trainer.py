import math
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.errors import DataError, WeightsError
from fedgin.nets.dsbn import branch_entries
from fedgin.nets.registry import build_network
from fedgin.train.batches import RoundPlan
from fedgin.train.evaluate.evaluator import evaluate
from fedgin.train.evaluate.scores import mean_dice
from fedgin.train.experiment import Experiment, TrainingSettings
from fedgin.train.trainer import Trainer, learning_rate
from tests.sites import ORGANS, tiny_experiment, write_site

CPU = torch.device("cpu")


def cases(folder: Path, split: Split = Split.TRAINING, modality: str = "MR") -> list[CachedCase]:
    contract = load_site(write_site(folder, "site-1", modality))
    return prepare_site(contract, tiny_experiment().preprocessing, ORGANS).cases[split]


def make_trainer(experiment: Experiment) -> Trainer:
    return Trainer(experiment.initial_network(), experiment, CPU)


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in trainer.network.parameters()])


@pytest.mark.parametrize("augmentation", ["none", "gin"])
def test_a_round_makes_the_asked_steps_and_is_reproducible(tmp_path: Path, augmentation: str) -> None:
    experiment = tiny_experiment(augmentation={"name": augmentation})
    runs = [make_trainer(experiment), make_trainer(experiment)]
    results = [run.train_round(cases(tmp_path), RoundPlan("site-1", 1, 3)) for run in runs]
    assert results[0].steps == 2
    assert results[0] == results[1]
    assert torch.equal(weights(runs[0]), weights(runs[1]))


@pytest.mark.parametrize("other", [RoundPlan("site-2", 1, 3), RoundPlan("site-1", 2, 3)])
def test_another_site_or_round_sees_other_batches(tmp_path: Path, other: RoundPlan) -> None:
    experiment = tiny_experiment(training={"local_steps": 1, "batch_size": 4, "schedule": "constant"})
    first, second = make_trainer(experiment), make_trainer(experiment)
    assert (
        first.train_round(cases(tmp_path), RoundPlan("site-1", 1, 3)).loss
        != second.train_round(cases(tmp_path), other).loss
    )


def test_rounds_do_not_depend_on_global_randomness(tmp_path: Path) -> None:
    first, second = make_trainer(tiny_experiment()), make_trainer(tiny_experiment())
    first.train_round(cases(tmp_path), RoundPlan("s", 0, 1))
    torch.manual_seed(1234)
    second.train_round(cases(tmp_path), RoundPlan("s", 0, 1))
    assert torch.equal(weights(first), weights(second))


@pytest.mark.parametrize("ahead", [1, 3])
def test_batches_read_ahead_change_no_bit_of_a_round(tmp_path: Path, ahead: int) -> None:
    """Nor of dropout, which draws from the stream that PyTorch's loader draws from."""
    experiment = tiny_experiment(
        training={"local_steps": 4, "batch_size": 4}, network={"params": {"channels": [4, 8], "dropout": 0.5}}
    )
    plain, early = make_trainer(experiment), make_trainer(experiment)
    assert plain.ahead == 0  # on a CPU
    early.ahead = ahead
    results = [trainer.train_round(cases(tmp_path), RoundPlan("s", 0, 1)) for trainer in (plain, early)]
    assert results[0] == results[1]
    assert torch.equal(weights(plain), weights(early))


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_cache_that_goes_during_a_round_is_the_readers_own_error(tmp_path: Path, ahead: int) -> None:
    experiment = tiny_experiment(training={"local_steps": 50, "batch_size": 2})
    trainer, members = make_trainer(experiment), cases(tmp_path)
    trainer.ahead = ahead

    def cleared() -> bool:
        for case in members:
            case.path.unlink(missing_ok=True)
        return False

    with pytest.raises(DataError, match="its file in the cache cannot be read any more"):
        trainer.train_round(members, RoundPlan("s", 0, 1), stop=cleared)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")] == []


def test_training_learns_the_blocks(tmp_path: Path) -> None:
    """Sixty small steps must be enough to find two bright blocks; otherwise something is wired wrongly."""
    experiment = tiny_experiment(
        training={"local_steps": 60, "batch_size": 8, "learning_rate": 0.02},
        network={"name": "unet", "params": {"channels": [8, 16], "residual_units": 1}},
    )
    trainer = make_trainer(experiment)
    members = cases(tmp_path)
    before = mean_dice(evaluate(trainer.network, members, CPU, in_one_piece=()))
    trainer.train_round(members, RoundPlan("s", 0, 1))
    assert mean_dice(evaluate(trainer.network, members, CPU, in_one_piece=())) > max(0.6, before)


def test_evaluation_changes_nothing_and_augments_nothing(tmp_path: Path) -> None:
    """Also with BatchNorm, whose statistics a network in training mode would move."""
    experiment = tiny_experiment(network={"normalisation": "batch", "params": {"channels": [4, 8]}})
    network = build_network(experiment.network, spatial_dims=2, out_channels=3, seed=0).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    members = cases(tmp_path, Split.VALIDATION)
    scores = [repr(evaluate(network, members, CPU, in_one_piece=())) for _ in range(2)]
    assert scores[0] == scores[1]
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_stop_ends_the_round_before_the_next_step(tmp_path: Path) -> None:
    answers: Iterator[bool] = iter([False, True, True])
    experiment = tiny_experiment(training={"local_steps": 50, "batch_size": 2})
    result = make_trainer(experiment).train_round(
        cases(tmp_path), RoundPlan("s", 0, 1), stop=lambda: next(answers, True)
    )
    assert result.steps <= 2


def test_a_round_tells_which_share_of_draws_the_quality_filter_refused(tmp_path: Path) -> None:
    """GIN with kernels of three pixels loses edges; without the filter nobody counts."""
    values: dict[str, object] = {"name": "gin", "params": {"kernel_sizes": [3]}}
    members, plan, refused = cases(tmp_path), RoundPlan("site-1", 0, 1), list[float | None]()
    for quality in (True, True, False):
        trainer = make_trainer(tiny_experiment(augmentation=values | {"quality": quality}))
        refused.append(trainer.train_round(members, plan).refused)
    first, again, none = refused
    assert first is not None
    assert 0.0 < first < 1.0
    assert again == first
    assert none is None


def test_a_loss_that_is_not_finite_is_loud(tmp_path: Path) -> None:
    trainer = make_trainer(tiny_experiment())
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(WeightsError, match="site s, round 1: the training loss is not finite"):
        trainer.train_round(cases(tmp_path), RoundPlan("s", 0, 1))


def test_the_polynomial_schedule_has_its_closed_form() -> None:
    settings = TrainingSettings(learning_rate=0.1)
    assert learning_rate(settings, 0, 10) == pytest.approx(0.1)
    assert learning_rate(settings, 5, 10) == pytest.approx(0.1 * 0.5**0.9)
    assert 0 < learning_rate(settings, 9, 10) < learning_rate(settings, 8, 10)
    constant = TrainingSettings(learning_rate=0.1, schedule="constant")
    assert math.isclose(learning_rate(constant, 9, 10), 0.1)


def test_a_plateau_halves_the_rate_between_rounds_and_another_process_goes_on_from_there(tmp_path: Path) -> None:
    experiment = tiny_experiment(training={"local_steps": 1, "learning_rate": 0.01, "schedule": "plateau"})
    trainer, again = make_trainer(experiment), make_trainer(experiment)
    assert trainer.plateau
    for _ in range(5):  # the first is the best so far
        trainer.plateau.step(0.0)
    trainer.train_round(cases(tmp_path), RoundPlan("s", 5, 9))
    again.restore_optimizer(trainer.optimizer_state())
    for each in (trainer, again):
        assert each.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
        assert each.plateau
        assert each.plateau.num_bad_epochs == 1
    again.restore_optimizer(None)
    assert again.optimizer.param_groups[0]["lr"] == 0.01
    assert again.plateau
    assert again.plateau.num_bad_epochs == 0
    with pytest.raises(ValidationError, match="plateau needs optimizer_state keep"):
        TrainingSettings(schedule="plateau", optimizer_state="reset")


@pytest.mark.parametrize(("sites", "moved"), [(["MR"], {"MR"}), (["CT"], {"CT"}), (["CT", "MR"], {"CT", "MR"})])
def test_domain_normalisation_learns_from_its_own_modality_alone(
    tmp_path: Path, sites: list[str], moved: set[str]
) -> None:
    """Also where a method makes three views of each image, and where the cases of a batch are of both modalities."""
    experiment = tiny_experiment(
        network={"normalisation": "dsbn", "params": {"channels": [4, 8]}},
        augmentation={"name": "gin", "params": {"consistency_weight": 1.0}},
    )
    members = [case for modality in sites for case in cases(tmp_path / modality, modality=modality)]
    trainer = make_trainer(experiment)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.train_round(members, RoundPlan("site-1", 0, 1))
    after = trainer.network.state_dict()
    for modality in ("CT", "MR"):
        unchanged = [torch.equal(before[name], after[name]) for name in branch_entries(trainer.network, modality)]
        assert all(unchanged) if modality not in moved else not any(unchanged)


def test_a_method_is_told_how_much_of_the_run_is_done(tmp_path: Path) -> None:
    trainer, seen = make_trainer(tiny_experiment()), list[float]()
    views = trainer.augmentation.views

    def watched(*args: object, **kwargs: object) -> object:
        seen.append(trainer.augmentation.progress)
        return views(*args, **kwargs)  # type: ignore[arg-type]

    trainer.augmentation.views = watched  # type: ignore[method-assign,assignment]
    for number in range(2):
        trainer.train_round(cases(tmp_path), RoundPlan("site-1", number, 2))
    assert seen == [0.0, 0.25, 0.5, 0.75]

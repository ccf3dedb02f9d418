"""A round in passes over a site's data: how many steps it has, and what a change of it means."""

import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.errors import ConfigError
from fedgin.train.batches import RoundPlan
from fedgin.train.experiment import Experiment, TrainingSettings, with_changes
from fedgin.train.round_length import steps_of_round
from fedgin.train.trainer import Trainer
from tests.sites import ORGANS, tiny_experiment, tiny_volumes, write_site

EPOCHS = {"local_epochs": 2, "batch_size": 5}


def cases(folder: Path, experiment: Experiment, patients: int) -> list[CachedCase]:
    contract = load_site(write_site(folder, "site-1", "MR", counts=(patients, 1, 1)))
    return prepare_site(contract, experiment.preprocessing, ORGANS).cases[Split.TRAINING]


@pytest.mark.parametrize(("patients", "steps"), [(1, 4), (2, 6)])
def test_a_site_with_more_slices_makes_more_steps_and_sees_each_slice_once_a_pass(
    tmp_path: Path, patients: int, steps: int
) -> None:
    experiment = tiny_experiment(training=EPOCHS)
    members = cases(tmp_path, experiment, patients)
    trainer = Trainer(experiment.initial_network(), experiment, torch.device("cpu"))
    dealt = list(trainer.batches(members, RoundPlan("s", 0, 1)).batch_sampler or ())
    assert len(dealt) == steps == steps_of_round(experiment, members)
    first, second = (
        [index for batch in half for index in batch] for half in (dealt[: steps // 2], dealt[steps // 2 :])
    )
    assert sorted(first) == sorted(second) == list(range(6 * patients))
    assert first != second
    result = trainer.train_round(members, RoundPlan("s", 0, 1))
    assert (result.steps, result.slices) == (steps, 6 * patients)


def test_a_pass_over_volumes_has_as_many_patches_as_cover_them(tmp_path: Path) -> None:
    experiment = tiny_volumes(training={"local_epochs": 1, "batch_size": 2, "foreground_share": 0.5})
    members = cases(tmp_path, experiment, 2)
    covering = [math.prod(-(-size // 16) for size in case.shape) for case in members]
    assert min(covering) > 1
    assert steps_of_round(experiment, members) == math.ceil(sum(covering) / 2)


def test_a_round_has_one_length_and_eighty_steps_where_nothing_is_said() -> None:
    assert (TrainingSettings().local_steps, TrainingSettings().length) == (80, "80 steps")
    assert [TrainingSettings(local_epochs=number).length for number in (1, 3)] == ["1 epoch", "3 epochs"]
    with pytest.raises(ValidationError, match="local_steps or local_epochs, not both"):
        TrainingSettings(local_epochs=1, local_steps=2)
    with pytest.raises(ValidationError, match="leave foreground_share out"):
        tiny_experiment(training={"local_epochs": 1, "foreground_share": 0.5})
    with pytest.raises(ConfigError, match="whose steps depend on the site"):
        assert TrainingSettings(local_epochs=1).steps


def test_a_change_to_epochs_replaces_steps_and_back() -> None:
    values = tiny_experiment().model_dump(mode="json")
    epochs = with_changes(values, {"training": {"local_epochs": 3}})
    assert Experiment.model_validate(epochs).training.length == "3 epochs"
    assert Experiment.model_validate(with_changes(epochs, {"training": {"local_steps": 7}})).training.steps == 7
    assert with_changes(epochs, {"seed": 1})["training"] == epochs["training"]

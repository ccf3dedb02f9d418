"""Methods that filter the network's input train by name, and are shown images of one scale in training and after it."""

from pathlib import Path

import pytest
import torch

from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.train.batches import RoundPlan
from fedgin.train.experiment import Experiment
from fedgin.train.trainer import Trainer
from tests.sites import ORGANS, tiny_experiment, write_site

CPU = torch.device("cpu")
NAMES = ["fmaug", "fmaug_butterworth", "raffesdg"]


def experiment_with(name: str) -> Experiment:
    values = tiny_experiment().model_dump(mode="json") | {"augmentation": {"name": name}}
    return Experiment.model_validate(values)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[CachedCase]:
    folder: Path = tmp_path_factory.mktemp("site")
    contract = load_site(write_site(folder, "site-1", "MR"))
    return prepare_site(contract, tiny_experiment().preprocessing, ORGANS).cases[Split.TRAINING]


@pytest.mark.parametrize("name", NAMES)
def test_every_part_of_the_network_trains(name: str, cases: list[CachedCase]) -> None:
    experiment = experiment_with(name)
    network = experiment.initial_network()
    before = [value.detach().clone() for value in network.parameters()]
    result = Trainer(network, experiment, CPU).train_round(cases, RoundPlan("site-1", 0, 1))
    assert (result.steps, result.fallbacks) == (2, 0)
    assert all(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    logits = network.eval()(torch.randn(3, 1, 32, 32))
    assert logits.shape == (3, experiment.classes, 32, 32)


@pytest.mark.parametrize("name", NAMES)
def test_training_and_inference_show_images_of_one_scale(name: str, cases: list[CachedCase]) -> None:
    experiment = experiment_with(name)
    method = experiment.build_augmentation()
    batch = next(iter(Trainer(experiment.initial_network(), experiment, CPU).batches(cases, RoundPlan("site-1", 0, 1))))
    image = torch.as_tensor(batch["image"])
    shown = [method.views(image, gen=torch.Generator().manual_seed(seed))[0] for seed in range(20)]
    spread = torch.stack(shown).flatten(1).std(1)
    assert 0.5 * spread.min() <= method.at_inference(image).std() <= 2.0 * spread.max()

"""Every augmentation of the package trains and segments by its name alone."""

import pytest
import torch

from fedgin.augment import augmentation_names, build_augmentation
from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.train.batches import RoundPlan
from fedgin.train.experiment import Experiment
from fedgin.train.trainer import Trainer
from tests.sites import ORGANS, tiny_experiment, write_site

# Other tests file augmentations of their own in the same registry.
NAMES = [name for name in augmentation_names() if type(build_augmentation(name)).__module__.startswith("fedgin.")]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[CachedCase]:
    contract = load_site(write_site(tmp_path_factory.mktemp("site"), "site-1", "MR"))
    return prepare_site(contract, tiny_experiment().preprocessing, ORGANS).cases[Split.TRAINING]


@pytest.mark.parametrize("name", NAMES)
def test_a_round_trains_by_name_and_is_repeatable(name: str, cases: list[CachedCase]) -> None:
    values = tiny_experiment().model_dump(mode="json") | {"augmentation": {"name": name}}
    experiment = Experiment.model_validate(values)
    networks = [experiment.initial_network() for _ in range(2)]
    results = [
        Trainer(network, experiment, torch.device("cpu")).train_round(cases, RoundPlan("site-1", 0, 1))
        for network in networks
    ]
    assert results[0].steps == experiment.training.local_steps
    assert results[0].fallbacks == 0
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-5)
    with torch.no_grad():
        assert networks[0].eval()(torch.zeros(1, 1, 32, 32)).shape == (1, experiment.classes, 32, 32)

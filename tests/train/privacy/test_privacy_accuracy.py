"""A trained update under each setting: most of what was learnt survives, or it is known that it does not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from fedgin.data.privacy import Privacy
from fedgin.data.site import load_site
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.privacy.protect import protect
from fedgin.train.site.session import SiteSession
from tests.sites import tiny_experiment, write_site

NETWORK = {"name": "unet", "params": {"channels": [8, 16, 32], "residual_units": 1}}
TRAINING = {"local_steps": 60, "batch_size": 6, "learning_rate": 5e-3}
NOISE: dict[str, Any] = {"clip_norm": 4.0, "delta": 1e-5, "epsilon_budget": 1e15}


class Trained:
    """A site that has learnt in one round from scratch, and how good its update is under some settings."""

    def __init__(self, folder: Path) -> None:
        experiment = tiny_experiment(network=NETWORK, training=TRAINING, seed=2)
        contract = load_site(write_site(folder / "data", "site-1", "MR", counts=(3, 1, 1)))
        self.session = SiteSession(experiment, contract, folder / "run")
        self.received = {name: value.clone() for name, value in averaged_weights(experiment.initial_network()).items()}
        self.update = self.session.train(self.received, 0, 1, stop=lambda: False).difference

    def dice(self, difference: dict[str, Tensor]) -> float:
        model = {name: value + difference.get(name, 0.0) for name, value in self.received.items()}
        return self.session.validate(model, "m", stop=lambda: False)["test_dice_mean"]

    def dice_under(self, section: dict[str, Any]) -> float:
        privacy = Privacy.model_validate(section)
        rng = np.random.default_rng(0)
        return self.dice(protect(self.update, self.received, privacy, normals=rng.standard_normal).difference)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("site"))


def test_the_update_is_worth_protecting(trained: Trained) -> None:
    assert trained.dice(trained.update) > 0.7
    assert trained.dice({}) < 0.3


@pytest.mark.parametrize(
    "section",
    [
        {"clip_norm": 4.0},
        {"keep_largest_percent": 50.0},
        {"exclude_layers": ["model.0.residual"]},
        NOISE | {"noise_multiplier": 0.002},
        NOISE | {"noise_multiplier": 0.001, "keep_largest_percent": 60.0, "exclude_layers": ["model.0.residual"]},
    ],
    ids=["clipped", "sparse", "withheld", "noisy", "all"],
)
def test_four_fifths_of_the_dice_survive(trained: Trained, section: dict[str, Any]) -> None:
    assert trained.dice_under(section) > 0.8 * trained.dice(trained.update)


@pytest.mark.parametrize("section", [{"keep_largest_percent": 1.0}, NOISE | {"noise_multiplier": 1.0}])
def test_what_the_documentation_calls_unusable_is(trained: Trained, section: dict[str, Any]) -> None:
    assert trained.dice_under(section) < 0.3

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fedgin.data.site import load_site
from fedgin.errors import PrivacyError, WeightsError
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.experiment import Experiment
from fedgin.train.site.session import SiteSession
from tests.sites import tiny_experiment, write_site


def experiment(*, encrypted: bool = True) -> Experiment:
    return tiny_experiment(federation={"homomorphic_encryption": encrypted})


def open_session(folder: Path, settings: Experiment, privacy: dict[str, Any] | None = None) -> SiteSession:
    path = write_site(folder / "data", "site-1", "MR")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | ({"privacy": privacy} if privacy else {})))
    return SiteSession(settings, load_site(path), folder / "run")


def never() -> bool:
    return False


def test_flat_weights_train_as_whole_ones_do(tmp_path: Path) -> None:
    session = open_session(tmp_path, experiment())
    weights = averaged_weights(experiment().initial_network())
    flat = {name: value.flatten() for name, value in weights.items()}
    one, other = (session.train(received, 0, 1, stop=never) for received in (weights, flat))
    for name in weights:
        assert torch.equal(one.difference[name], other.difference[name])
    assert session.validate(flat, "SRV_FL_global_model.pt", stop=never) == session.validate(weights, "x", stop=never)


def test_flat_weights_belong_to_encrypted_jobs_alone(tmp_path: Path) -> None:
    settings = experiment(encrypted=False)
    flat = {name: value.flatten() for name, value in averaged_weights(settings.initial_network()).items()}
    with pytest.raises(WeightsError, match="has shape"):
        open_session(tmp_path, settings).train(flat, 0, 1, stop=never)


@pytest.mark.parametrize("value", [4e5, float("nan"), float("-inf")])
def test_what_another_key_makes_of_weights_is_refused(tmp_path: Path, value: float) -> None:
    weights = {name: entry.flatten() for name, entry in averaged_weights(experiment().initial_network()).items()}
    name = min(weights)
    weights[name][0] = value
    with pytest.raises(WeightsError, match=f"entry '{name}' is senseless after decryption"):
        open_session(tmp_path, experiment()).train(weights, 1, 2, stop=never)


def test_the_server_gets_no_site_s_own_model(tmp_path: Path) -> None:
    session = open_session(tmp_path, experiment())
    session.train(averaged_weights(experiment().initial_network()), 0, 1, stop=never)
    with pytest.raises(PrivacyError, match="an encrypted job asks for the local model"):
        session.local_model()


def test_a_site_may_take_part_in_encrypted_jobs_only(tmp_path: Path) -> None:
    privacy = {"encrypted_jobs_only": True}
    weights = averaged_weights(experiment().initial_network())
    assert open_session(tmp_path / "1", experiment(), privacy).train(weights, 0, 1, stop=never).difference
    with pytest.raises(PrivacyError, match="site-1 takes part in encrypted jobs only"):
        open_session(tmp_path / "2", experiment(encrypted=False), privacy)


def test_an_encrypted_update_lacks_no_layer(tmp_path: Path) -> None:
    with pytest.raises(PrivacyError, match="an encrypted update is whole"):
        open_session(tmp_path, experiment(), {"exclude_layers": ["model.0"]})

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from fedgin.data.site import load_site
from fedgin.errors import FedginError, PrivacyError, WeightsError
from fedgin.nets.registry import build_network
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.privacy.protect import norm
from fedgin.train.site.session import SiteSession
from fedgin.train.trainer import Trainer
from tests.sites import tiny_experiment, write_site

NOISE: dict[str, Any] = {"clip_norm": 0.5, "noise_multiplier": 0.1, "delta": 1e-5, "epsilon_budget": 1e6}


def open_session(folder: Path, privacy: dict[str, Any] | None) -> SiteSession:
    """Open the same site in the same run folder, as a new process does, with its privacy section as it is now."""
    path = folder / "data" / "site.yaml"
    if not path.exists():
        write_site(folder / "data", "site-1", "MR")
    values = {key: value for key, value in yaml.safe_load(path.read_text()).items() if key != "privacy"}
    path.write_text(yaml.safe_dump(values | ({"privacy": privacy} if privacy else {})))
    return SiteSession(tiny_experiment(), load_site(path), folder / "run", source=path)


def charges(folder: Path) -> list[dict[str, Any]]:
    path = folder / "data" / "fedgin-privacy" / "ledger.json"
    found: list[dict[str, Any]] = json.loads(path.read_text())["charges"] if path.exists() else []
    return found


def initial() -> dict[str, Tensor]:
    experiment = tiny_experiment()
    return averaged_weights(build_network(experiment.network, spatial_dims=2, out_channels=3, seed=experiment.seed))


def never() -> bool:
    return False


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the site trained")

    monkeypatch.setattr(Trainer, "train_round", fail)


def test_a_clipped_site_sends_the_same_direction(tmp_path: Path) -> None:
    plain = open_session(tmp_path / "a", None).train(initial(), 0, 3, stop=never).difference
    update = open_session(tmp_path / "b", {"clip_norm": 0.01}).train(initial(), 0, 3, stop=never)
    raw, sent = (torch.cat([value.flatten() for value in each.values()]) for each in (plain, update.difference))
    assert norm(sent.numpy()) <= 0.01 < norm(raw.numpy())
    assert torch.cosine_similarity(raw, sent, dim=0) > 0.999999
    assert "clipped to 0.01" in update.protection
    assert "privacy_epsilon" not in update.metrics


def test_a_repeated_task_sends_the_very_same_bytes_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session(tmp_path, NOISE)
    first = session.train(initial(), 0, 3, stop=never)
    forbid_training(monkeypatch)
    for again in (session, open_session(tmp_path, NOISE)):
        repeated = again.train(initial(), 0, 3, stop=never)
        assert same(repeated.difference, first.difference)
        assert (repeated.metrics, repeated.weight, repeated.loss) == (first.metrics, first.weight, first.loss)
    assert len(charges(tmp_path)) == 1


def test_every_new_update_has_new_noise_and_is_charged(tmp_path: Path) -> None:
    """The same round from another model is another update, and so is the same round of another run."""
    session, other = open_session(tmp_path, NOISE), {name: value + 0.01 for name, value in initial().items()}
    found = [
        session.train(initial(), 0, 3, stop=never),
        session.train(other, 0, 3, stop=never),
        session.train(other, 1, 3, stop=never),
        session.train(initial(), 0, 3, stop=never),
    ]
    spent = [update.metrics["privacy_epsilon"] for update in found]
    assert spent == sorted(set(spent))
    assert [charge["round"] for charge in charges(tmp_path)] == [0, 0, 1, 0]
    assert not same(found[0].difference, found[3].difference)


def test_the_local_model_shows_nothing_that_was_not_sent(tmp_path: Path) -> None:
    layer = "model.0"
    privacy = NOISE | {"exclude_layers": [layer]}
    session = open_session(tmp_path, privacy)
    update = session.train(initial(), 0, 3, stop=never)
    assert not any(name.startswith(layer) for name in update.difference)
    assert update.withheld == sorted(name for name in initial() if name.startswith(f"{layer}."))
    assert session.train(initial(), 0, 3, stop=never).withheld == update.withheld
    for model in (session.local_model(), open_session(tmp_path, privacy).local_model()):
        assert list(model) == list(initial())
        for name, value in initial().items():
            torch.testing.assert_close(model[name], value + update.difference.get(name, 0.0), rtol=0.0, atol=0.0)
    assert not (tmp_path / "run" / "local_model.pt").exists()


def test_a_model_from_before_the_settings_is_not_shown(tmp_path: Path) -> None:
    open_session(tmp_path, None).train(initial(), 0, 3, stop=never)
    with pytest.raises(WeightsError, match=r"protected_update\.pt does not exist"):
        open_session(tmp_path, {"clip_norm": 1.0}).local_model()
    open_session(tmp_path, {"clip_norm": 1.0}).train(initial(), 0, 3, stop=never)
    with pytest.raises(PrivacyError, match="other privacy settings"):
        open_session(tmp_path, {"clip_norm": 0.5}).local_model()


def test_a_spent_budget_stops_the_site_before_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_session(tmp_path, NOISE).train(initial(), 0, 3, stop=never)
    limited = NOISE | {"epsilon_budget": first.metrics["privacy_epsilon"] * 1.01}
    forbid_training(monkeypatch)
    with pytest.raises(PrivacyError, match="budget is spent"):
        open_session(tmp_path, limited).train(initial(), 1, 3, stop=never)
    assert len(charges(tmp_path)) == 1


def test_a_damaged_ledger_stops_the_site_before_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = open_session(tmp_path, NOISE)
    session.train(initial(), 0, 3, stop=never)
    (tmp_path / "data" / "fedgin-privacy" / "ledger.json").write_text('{"charges": [')
    forbid_training(monkeypatch)
    with pytest.raises(PrivacyError, match="damaged or was edited"):
        session.train(initial(), 1, 3, stop=never)


def test_a_ledger_that_was_left_behind_stops_the_site_until_it_comes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_session(tmp_path, NOISE).train(initial(), 0, 3, stop=never)
    path = tmp_path / "data" / "site.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"cache_dir": "elsewhere/cache"}))
    with monkeypatch.context() as context:
        forbid_training(context)
        with pytest.raises(PrivacyError, match=r"has 0 of the 1 noisy updates .* move the folder fedgin-privacy along"):
            open_session(tmp_path, NOISE).train(initial(), 1, 3, stop=never)
    (tmp_path / "data" / "fedgin-privacy").rename(tmp_path / "data" / "elsewhere" / "fedgin-privacy")
    open_session(tmp_path, NOISE).train(initial(), 1, 3, stop=never)
    assert (tmp_path / "data" / "site.charges").read_text() == "2\n"


def test_clearing_the_cache_keeps_the_budget(tmp_path: Path) -> None:
    session = open_session(tmp_path, NOISE)
    session.train(initial(), 0, 3, stop=never)
    assert session.contract.cache_dir not in (tmp_path / "data" / "fedgin-privacy").parents


def test_a_layer_that_the_network_lacks_stops_the_site_before_it_trains(tmp_path: Path) -> None:
    with pytest.raises(PrivacyError, match="no layer 'encoder'"):
        open_session(tmp_path, {"exclude_layers": ["encoder"]})


@pytest.mark.parametrize("fault", ["nan", "disk"])
def test_a_fault_in_the_filter_sends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    session = open_session(tmp_path, NOISE)
    if fault == "nan":
        monkeypatch.setattr("fedgin.train.site.session.LocalUpdate", _with_nan)
    else:
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / "protected_update.pt").mkdir()
    with pytest.raises(FedginError):
        session.train(initial(), 0, 3, stop=never)
    assert charges(tmp_path) == []
    with pytest.raises(WeightsError):
        session.local_model()


def _with_nan(difference: dict[str, Tensor], *rest: Any) -> Any:
    from fedgin.train.site.update import LocalUpdate

    next(iter(difference.values())).view(-1)[0] = np.nan
    return LocalUpdate(difference, *rest)


def test_a_damaged_protected_update_is_not_replaced_by_a_second_draw(tmp_path: Path) -> None:
    session = open_session(tmp_path, NOISE)
    session.train(initial(), 0, 3, stop=never)
    path = tmp_path / "run" / "protected_update.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match="damaged"):
        session.train(initial(), 0, 3, stop=never)
    assert len(charges(tmp_path)) == 1

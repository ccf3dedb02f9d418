"""Half the bytes of an update, and nothing of it lost."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedgin.data.privacy import Privacy
from fedgin.data.site import load_site
from fedgin.errors import WeightsError
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.experiment import Experiment, FederationSettings
from fedgin.train.site.compression import halve
from fedgin.train.site.session import SiteSession
from tests.sites import tiny_experiment, write_site


@given(
    seed=st.integers(0, 1000),
    exponent=st.integers(-9, 3),
    rounds=st.integers(1, 12),
    kept=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_what_was_sent_and_the_rest_add_up_to_the_updates(seed: int, exponent: int, rounds: int, kept: float) -> None:
    """For large and small updates, also where a site sends its largest values only, each round other ones."""
    generator = torch.Generator().manual_seed(seed)
    total, sent_in_all, rest = torch.zeros(50), torch.zeros(50), dict[str, Tensor]()
    for _ in range(rounds):
        value = 10.0**exponent * torch.randn(50, generator=generator)
        value = torch.where(torch.rand(50, generator=generator) < kept, value, 0.0)
        sent, rest = halve({"w": value}, rest)
        assert sent["w"].dtype == torch.float16
        assert not bool(sent["w"][value == 0.0].any())
        total, sent_in_all = total + value, sent_in_all + sent["w"].float()
    torch.testing.assert_close(sent_in_all + rest["w"], total, rtol=1e-5, atol=10.0**exponent * 1e-5)
    assert bool((rest["w"].abs() <= 2.0**-10 * 10.0**exponent * 6 + 2.0**-24).all()), "the rest stays a rounding"


def test_small_updates_arrive_after_some_rounds_although_each_alone_would_be_rounded_away() -> None:
    """float16 has nothing between 0 and 6e-8."""
    rest: dict[str, Tensor] = {}
    arrived = 0.0
    for _ in range(100):
        sent, rest = halve({"w": torch.tensor([2e-8])}, rest)
        arrived += float(sent["w"])
    assert arrived == pytest.approx(2e-6, rel=0.05)
    assert not float(torch.tensor([2e-8]).half())


@pytest.mark.parametrize("value", [65_520.0, -1e9])
def test_what_float16_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(WeightsError, match=r"entry 'w' of the update is larger than 65,504"):
        halve({"w": torch.tensor([1.0, value])}, {})


def test_variances_of_batch_norm_stay_whole() -> None:
    value = torch.tensor([-0.1234567])
    sent, rest = halve({"bn.running_var": value}, {})
    assert sent["bn.running_var"].dtype == torch.float32
    assert torch.equal(sent["bn.running_var"], value)
    assert not rest


def test_an_encrypted_job_refuses_it() -> None:
    with pytest.raises(ValueError, match="float16 rounds what would be encrypted"):
        FederationSettings(homomorphic_encryption=True, transfer="float16")


def experiment(transfer: str) -> Experiment:
    return tiny_experiment(federation={"transfer": transfer})


def test_what_was_left_over_before_the_site_protected_itself_stays(tmp_path: Path) -> None:
    path = write_site(tmp_path / "data", "site-1", "MR")
    plain = load_site(path)
    settings = experiment("float16")
    weights = averaged_weights(settings.initial_network())
    SiteSession(settings, plain, tmp_path / "run").train(weights, 0, 3, stop=lambda: False)
    clipped = plain.model_copy(update={"privacy": Privacy(clip_norm=1e-3)})
    session = SiteSession(settings, clipped, tmp_path / "run")
    assert session.state.rounded_off.latest() == {}
    sent = session.train(weights, 1, 3, stop=lambda: False).difference
    norm = sum(float(value.float().square().sum()) for value in sent.values()) ** 0.5
    assert norm <= 1e-3 * (1.0 + 2.0**-10), "nothing but what was clipped, rounded"


def test_a_site_s_rounds_add_up_with_a_new_process_for_each_and_a_repeated_round_is_the_same(tmp_path: Path) -> None:
    contract = load_site(write_site(tmp_path / "data", "site-1", "MR"))

    def train(folder: str, transfer: str, number: int) -> dict[str, Tensor]:
        session = SiteSession(experiment(transfer), contract, tmp_path / folder)
        weights = averaged_weights(experiment(transfer).initial_network())
        return session.train(weights, number, 3, stop=lambda: False).difference

    whole = [train("whole", "float32", number) for number in range(2)]
    halved = [train("halved", "float16", number) for number in range(2)]
    again = train("halved", "float16", 1)
    last = SiteSession(experiment("float16"), contract, tmp_path / "halved").state.rounded_off.latest()
    assert any(bool(value.any()) for value in last.values())
    for name in whole[0]:
        assert torch.equal(halved[1][name], again[name])
        found = halved[0][name].float() + halved[1][name].float() + last[name]
        torch.testing.assert_close(found, whole[0][name] + whole[1][name], rtol=0, atol=1e-7)

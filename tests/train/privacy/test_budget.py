import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.special import log_ndtr

from fedgin.data.privacy import Privacy
from fedgin.errors import PrivacyError
from fedgin.train.privacy.budget import PrivacyLedger, epsilon

DELTA = 1e-5
multipliers = st.floats(0.02, 100.0)
rounds = st.integers(1, 200)


def settings_of(budget: float = 50.0, multiplier: float = 4.0) -> Privacy:
    return Privacy(clip_norm=1.0, noise_multiplier=multiplier, delta=DELTA, epsilon_budget=budget)


def renyi(multiplier: float, count: int) -> float:
    """Minimise the closed form over the order: the sum alpha T / (2 s^2), converted as Balle et al. 2020."""
    rate = count / (2.0 * (multiplier / 2.0) ** 2)

    def bound(log_excess: float) -> float:
        excess = math.exp(log_excess)
        order = 1.0 + excess
        return order * rate + math.log(excess / order) - (math.log(DELTA) + math.log(order)) / excess

    best = minimize_scalar(bound, bounds=(math.log(1e-5), math.log(1e4)), method="bounded", options={"xatol": 1e-9})
    return float(best.fun)


def exact(multiplier: float, count: int) -> float:
    """Return epsilon of the analytic Gaussian mechanism (Balle and Wang 2018, theorem 8).

    T rounds are one with s / sqrt(T). In logarithms, because exp(epsilon) overflows where there is little noise.
    """
    ratio = math.sqrt(count) / (multiplier / 2.0)

    def excess(value: float) -> float:
        first = float(log_ndtr(ratio / 2.0 - value / ratio))
        second = value + float(log_ndtr(-ratio / 2.0 - value / ratio))
        return first + math.log1p(-math.exp(min(second - first, -1e-16))) - math.log(DELTA)

    return float(brentq(excess, 1e-9, ratio**2 + 20.0 * ratio + 1.0))


@settings(max_examples=40)
@given(multiplier=multipliers, count=rounds)
def test_the_accountant_is_the_closed_form_of_renyi(multiplier: float, count: int) -> None:
    assert epsilon([multiplier] * count, DELTA) == pytest.approx(renyi(multiplier, count), rel=2e-3, abs=1e-6)


@settings(max_examples=40)
@given(multiplier=st.floats(0.2, 100.0), count=rounds)
def test_the_accountant_is_above_the_exact_value_but_not_far(multiplier: float, count: int) -> None:
    true = exact(multiplier, count)
    assert true <= epsilon([multiplier] * count, DELTA) <= 1.35 * true + 0.05


@settings(max_examples=20)
@given(multiplier=multipliers, count=rounds)
def test_many_rounds_cost_as_much_as_one_with_less_noise(multiplier: float, count: int) -> None:
    once = epsilon([multiplier / math.sqrt(count)], DELTA)
    assert epsilon([multiplier] * count, DELTA) == pytest.approx(once, rel=1e-9)


def test_noise_that_needs_less_than_delta_has_epsilon_0() -> None:
    assert epsilon([1000.0], 1e-2) == 0.0


def test_an_epsilon_that_is_no_number_stays_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is over every budget."""
    monkeypatch.setattr("opacus.accountants.RDPAccountant.get_epsilon", lambda *_, **__: math.nan)
    assert math.isnan(epsilon([1.0], DELTA))


def test_the_order_of_different_rounds_does_not_matter() -> None:
    assert epsilon([1.0, 5.0, 1.0], DELTA) == pytest.approx(epsilon([5.0, 1.0, 1.0], DELTA))


def test_the_budget_stops_the_round_that_would_exceed_it_and_no_earlier(tmp_path: Path) -> None:
    allowed = epsilon([4.0] * 3, DELTA)
    ledger = PrivacyLedger(tmp_path / "ledger.json")
    spent = [ledger.charge(settings_of(allowed), "a", number) for number in range(3)]
    assert spent == pytest.approx([epsilon([4.0] * count, DELTA) for count in (1, 2, 3)])
    for call in (ledger.check, lambda privacy: ledger.charge(privacy, "another job", 0)):
        with pytest.raises(PrivacyError, match=r"budget is spent: one more round makes epsilon .* at delta 1e-05"):
            call(settings_of(allowed))
    ledger.check(settings_of(2 * allowed))


def test_the_ledger_lasts_over_processes_and_jobs(tmp_path: Path) -> None:
    for number, name in enumerate(["a", "b"]):
        spent = PrivacyLedger(tmp_path / "new" / "ledger.json").charge(settings_of(), name, number)
    assert spent == pytest.approx(epsilon([4.0, 4.0], DELTA))
    charges = json.loads((tmp_path / "new" / "ledger.json").read_text())["charges"]
    assert [(charge["experiment"], charge["round"]) for charge in charges] == [("a", 0), ("b", 1)]


@pytest.mark.parametrize("kind", ["truncated", "empty", "less", "smaller", "removed", "text", "nan", "folder"])
def test_a_ledger_that_is_not_as_it_was_written_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "ledger.json"
    ledger = PrivacyLedger(path)
    for number in range(2):
        ledger.charge(settings_of(), "a", number)
    text = path.read_text()
    values = json.loads(text)
    values["charges"] = values["charges"][:1]
    changed = {
        "truncated": text[: len(text) // 2],
        "empty": "",
        "less": json.dumps(values),
        "smaller": text.replace("4.0", "40.0", 1),
        "removed": "{}",
        "text": "hello",
        "nan": text.replace("4.0", "NaN", 1),
    }
    if kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_text(changed[kind])
    for call in (ledger.check, lambda privacy: ledger.charge(privacy, "a", 2)):
        with pytest.raises(PrivacyError, match=r"ledger\.json is damaged or was edited"):
            call(settings_of())


def test_a_ledger_that_cannot_be_written_stops_the_round(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PrivacyError, match="cannot be written"):
        PrivacyLedger(tmp_path / "file" / "ledger.json").charge(settings_of(), "a", 0)


def test_two_jobs_at_the_same_time_are_both_counted(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: PrivacyLedger(path).charge(settings_of(), "a", number), range(12)))
    assert sorted(charge["round"] for charge in json.loads(path.read_text())["charges"]) == list(range(12))

"""What a site tells of its scores: means by organ, nothing of few patients, rows only where it agreed."""

import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedgin.data.site import Modality, SiteContract
from fedgin.train.evaluate.estimates import mean_of
from fedgin.train.evaluate.scores import CaseScore
from fedgin.train.evaluate.site_scores import SiteScores
from fedgin.train.evaluate.site_summary import summarise_site

ORGANS = ["liver", "spleen", "aorta"]


ONE_END = {"patients": 3, **{name: {"value": 0.5, "low": 0.4} for name in ("dice", "hd95_mm", "surface_dice")}}


def site(*, share: bool = False, labels: Sequence[str] = ("liver", "spleen")) -> SiteContract:
    ids = {organ: number for number, organ in enumerate(labels, start=1)}
    return SiteContract(site="a", modality=Modality.CT, data_root=Path("."), labels=dict(ids), share_case_scores=share)


def score(subject: int, organ: str, dice: float, case: int | None = None) -> CaseScore:
    far = math.nan if math.isnan(dice) else 10.0 * (1.0 - dice)
    return CaseScore("a", "CT", "test", case or subject, subject, organ, dice, 5.0, 5.0, far, dice)


def of_patients(organ: str, *dice: float) -> list[CaseScore]:
    return [score(subject, organ, value) for subject, value in enumerate(dice, start=1)]


def test_an_organ_has_the_mean_over_patients_with_the_interval_of_our_reports() -> None:
    values = [0.05 * number for number in range(5, 17)]
    found = summarise_site(of_patients("liver", *values), site(), ORGANS)
    expected = mean_of({("a", number): value for number, value in enumerate(values, start=1)})
    assert found.patients == 12
    told = found.organs["liver"].dice
    assert (told.value, told.low, told.high) == (expected.value, expected.low, expected.high)
    assert found.organs["liver"].hd95_mm.value == pytest.approx(4.75)
    assert found.mean == found.organs["liver"]


@pytest.mark.parametrize("patients", [3, 4, 11])
def test_the_interval_of_a_small_group_would_be_its_patients_and_is_not_told(patients: int) -> None:
    """Of three patients, low and high are the smallest and the largest, and the mean gives the third."""
    scores = of_patients("liver", *(0.9 / number for number in range(1, patients + 1)))
    found = summarise_site(scores, site(), ORGANS)
    assert found.mean is not None
    for told in (found.mean, found.organs["liver"]):
        for mean in (told.dice, told.hd95_mm, told.surface_dice):
            assert (mean.low, mean.high) == (None, None)
    assert found.in_words() == f"Dice {found.mean.dice.value:.3f}, {patients} patients"
    shared = summarise_site(scores, site(share=True), ORGANS).organs["liver"].dice
    assert shared.low is not None
    assert shared.high is not None
    assert shared.low < shared.value < shared.high


def test_an_organ_of_few_has_no_interval_where_the_mean_over_organs_has_one() -> None:
    scores = of_patients("liver", *[0.5, 0.7] * 6) + of_patients("spleen", *[0.5, 0.7] * 2)
    found = summarise_site(scores, site(), ORGANS)
    assert found.mean is not None
    assert [found.mean.dice.low is None, found.organs["spleen"].dice.low is None] == [False, True]


def test_several_cases_of_a_patient_count_as_one() -> None:
    scores = [
        score(1, "liver", 0.2, 1),
        score(1, "liver", 0.4, 2),
        score(2, "liver", 0.6, 3),
        score(3, "liver", 0.9, 4),
    ]
    found = summarise_site(scores, site(), ORGANS)
    assert found.patients == 3
    assert found.organs["liver"].dice.value == pytest.approx((0.3 + 0.6 + 0.9) / 3)


def test_what_cannot_be_scored_is_named_with_its_reason() -> None:
    scores = of_patients("liver", 0.5, 0.5, 0.5) + of_patients("spleen", *[math.nan] * 3)
    found = summarise_site(scores, site(), ORGANS)
    assert (found.unlabelled, found.absent, found.withheld) == (("aorta",), ("spleen",), ())
    assert found.why_no_score() == "aorta: not labelled at the site; spleen: shown by no test case"


def test_an_organ_of_too_few_patients_is_in_no_number() -> None:
    scores = of_patients("liver", 0.5, 0.6, 0.7, 0.8) + of_patients("spleen", 0.0, 0.0, math.nan, math.nan)
    found = summarise_site(scores, site(), ORGANS)
    assert found.withheld == ("spleen",)
    assert found.mean is not None
    assert found.mean.dice.value == pytest.approx(0.65), "two zeros of the withheld organ would show in the mean"
    shared = summarise_site(scores, site(share=True), ORGANS)
    assert shared.withheld == ()
    assert shared.organs["spleen"].patients == 2


def test_all_but_a_few_patients_are_no_exact_number() -> None:
    scores = of_patients("liver", *[0.5] * 10) + of_patients("spleen", *[0.5] * 9, math.nan)
    assert summarise_site(scores, site(), ORGANS).organs["spleen"].patients == ">7"


def test_a_site_with_two_patients_tells_that_and_nothing_else() -> None:
    found = summarise_site(of_patients("liver", 0.5, 0.6), site(), ORGANS)
    assert (found.patients, found.mean, found.organs, found.rows) == ("<3", None, {}, None)
    assert found.in_words().startswith("no score: <3 patients, ")
    assert "liver: withheld, shown by too few patients" in found.in_words()


def test_rows_need_the_site_s_agreement() -> None:
    scores = of_patients("liver", 0.5, 0.6, 0.7)
    assert summarise_site(scores, site(), ORGANS).rows is None
    rows = summarise_site(scores, site(share=True), ORGANS).rows
    assert rows is not None
    assert [(row.patient, row.case, row.dice) for row in rows] == [(1, 1, 0.7), (2, 1, 0.6), (3, 1, 0.5)]


@given(seed=st.integers(0, 2**32), patients=st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=3), min_size=1))
def test_the_order_of_the_list_is_not_in_the_rows(seed: int, patients: list[list[float]]) -> None:
    """Numbers of patients and cases, drawn anew, give the same rows: nothing of them is told."""
    drawn = random.Random(seed)
    order = drawn.sample(range(1, 10_000), len(patients))
    here, there = [], []
    number = 0
    for place, cases in enumerate(patients, start=1):
        for dice in cases:
            number += 1
            here.append(score(place, "liver", dice, number))
            there.append(score(order[place - 1], "liver", dice, drawn.randrange(10**9)))
    drawn.shuffle(there)
    assert summarise_site(here, site(share=True), ORGANS).rows == summarise_site(there, site(share=True), ORGANS).rows


@pytest.mark.parametrize(
    "change",
    [
        {"patients": "12; DROP"},
        {"patients": 0},
        {"mean": None},
        {"unlabelled": ["liver"]},
        {"name": "Jane Doe"},
        {"organs": {"../x": None}},
        {"modality": "PET"},
        {"mean": ONE_END, "organs": {"liver": ONE_END}},
        {"rows": [{"patient": 1, "case": 1, "organ": "liver", "dice": 7.0, "hd95_mm": 1.0, "surface_dice": 0.5}]},
    ],
)
def test_an_answer_of_another_form_is_no_answer(change: dict[str, object]) -> None:
    told = summarise_site(of_patients("liver", 0.5, 0.6, 0.7), site(), ORGANS).model_dump(mode="json")
    assert SiteScores.model_validate(told).organs.keys() == {"liver"}
    with pytest.raises(ValidationError):
        SiteScores.model_validate(told | change)

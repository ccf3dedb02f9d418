import math

import pytest

from fedgin.train.evaluate.patient_values import subject_values
from fedgin.train.evaluate.scores import CaseScore


def score(subject: int, organ: str, dice: float, *, case: int = 1, modality: str = "MR") -> CaseScore:
    return CaseScore("a", modality, "test", case, subject, organ, dice, 1.0, 1.0, 10 * dice, dice / 2)


def test_each_organ_of_a_patient_counts_the_same_however_many_slices_show_it() -> None:
    scores = [score(1, "heart", 0.2, case=number) for number in range(1, 4)] + [score(1, "aorta", 0.8)]
    assert subject_values(scores) == {("a", 1): pytest.approx(0.5)}


def test_slices_of_one_patient_are_one_value() -> None:
    scores = [score(1, "heart", 0.2, case=1), score(1, "heart", 0.4, case=2), score(2, "heart", 0.9, case=3)]
    assert subject_values(scores) == {("a", 1): pytest.approx(0.3), ("a", 2): pytest.approx(0.9)}


def test_an_absent_organ_does_not_enter_and_an_unseen_one_leaves_the_patient_out() -> None:
    scores = [score(1, "heart", math.nan), score(1, "aorta", 0.6), score(2, "heart", 0.4)]
    assert subject_values(scores, organ="heart") == {("a", 2): pytest.approx(0.4)}
    assert subject_values(scores) == {("a", 1): pytest.approx(0.6), ("a", 2): pytest.approx(0.4)}


def test_modality_and_measure_are_chosen() -> None:
    scores = [score(1, "heart", 0.4), score(2, "heart", 0.6, modality="CT")]
    assert subject_values(scores, modality="CT", measure="hd95_mm") == {("a", 2): pytest.approx(6.0)}
    assert subject_values(scores, modality="MR", measure="surface_dice") == {("a", 1): pytest.approx(0.2)}

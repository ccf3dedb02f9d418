import math
from pathlib import Path

import pytest

from fedgin.errors import DataError
from fedgin.train.evaluate.scores import CaseScore, mean_dice, mean_dice_by_organ, read_scores, summarise, write_scores


def score(case: int, organ: str, dice: float) -> CaseScore:
    return CaseScore("s", "MR", "test", case, case, organ, dice, 0.0 if math.isnan(dice) else 5.0, 1.0)


SCORES = [score(1, "liver", 0.8), score(2, "liver", 0.6), score(1, "spleen", 0.4), score(2, "spleen", math.nan)]


def test_an_absent_organ_does_not_enter_a_mean() -> None:
    assert mean_dice_by_organ(SCORES) == pytest.approx({"liver": 0.7, "spleen": 0.4})
    assert mean_dice(SCORES) == pytest.approx(0.55)


def test_an_organ_no_case_shows_is_left_out() -> None:
    assert "gallbladder" not in mean_dice_by_organ([*SCORES, score(1, "gallbladder", math.nan)])


def test_no_dice_at_all_is_loud() -> None:
    with pytest.raises(DataError, match="no case shows any organ"):
        mean_dice([score(1, "liver", math.nan)])


def test_metrics_are_flat_numbers() -> None:
    assert summarise(SCORES, "val") == pytest.approx(
        {"val_dice_mean": 0.55, "val_cases": 2.0, "val_dice_liver": 0.7, "val_dice_spleen": 0.4}
    )


def test_scores_survive_the_file(tmp_path: Path) -> None:
    write_scores(tmp_path / "a" / "scores.csv", SCORES)
    found = read_scores(tmp_path / "a" / "scores.csv")
    assert [repr(entry) for entry in found] == [repr(entry) for entry in SCORES]

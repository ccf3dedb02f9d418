"""The Markdown tables of a study say what the paper's tables say: mean, standard deviation and number of cases."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedgin.data.site import Modality
from fedgin.report import study_page
from fedgin.report.study_page import tables_text
from fedgin.study.arm_result import ArmResult
from fedgin.study.arms import PooledArm
from fedgin.study.plan import ArmSpec, Regime, Study
from fedgin.train.evaluate.scores import CaseScore
from tests.sites import tiny_experiment

BLOCK = {"regimes": ["mr_only", "central"], "methods": ["none", "gin"], "seeds": [1]}


def run(
    method: str, liver: list[float], *, regime: Regime = Regime.MR_ONLY, seed: int = 1, ct: int | None = None
) -> tuple[ArmSpec, Any]:
    """Return the result of an arm on so many MR patients; HD95 is 100 mm times their Dice."""
    arm = PooledArm("name", "title", tiny_experiment(), (Modality.MR,), 1)
    scores = [
        CaseScore("a", "MR", "test", number, number, "liver", dice, 1.0, 1.0, 100 * dice, dice)
        for number, dice in enumerate(liver, start=1)
    ]
    patients = ((Modality.CT, ct), (Modality.MR, 1)) if ct else ()
    return ArmSpec(regime, method, seed, patients), ArmResult(arm, scores, [], Path("model.pt"), {}, resumed=True)


def text(*results: tuple[ArmSpec, Any]) -> str:
    values = {"name": "n", "title": "T", "note": "N.", "sites": "s", "job": "j", "rounds": 2, "blocks": [BLOCK]}
    return tables_text(Study.model_validate(values), results)


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    lines = page.split(f"{heading}\n")[1].splitlines()
    lines = lines[next(number for number, line in enumerate(lines) if line.startswith("|")) :]
    end = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]]


def test_every_cell_has_mean_and_sd_and_every_column_its_number_of_patients() -> None:
    page = text(run("none", [0.5, 0.7, 0.9]), run("gin", [0.6, 0.6, 0.6]), run("gin", [0.6, 0.6, 0.6], seed=2))
    heading, _, none, gin = rows(page, "## Mean Dice")
    assert heading == ["method", "seeds", "MR, mr only, n = 3"]
    assert none[:2] == ["none", "1"]
    assert none[2].startswith("0.700 ± 0.200 [0.")
    assert gin == ["gin", "2", "0.600 ± 0.000 [0.60, 0.60]"]


def test_organ_tables_have_the_same_and_millimetres_have_one_digit() -> None:
    page = text(run("none", [0.5, 0.7, math.nan]), run("gin", [0.6, 0.6, math.nan]))
    heading, _, none, _ = rows(page, "### HD95 in mm, MR, mr only")
    assert heading == ["method", "seeds", "liver, n = 2"], "an organ's patients are those who show it"
    assert none[2].startswith("60.0 ± 14.1 [")
    assert rows(page, "### Dice, MR, mr only")[2][2].startswith("0.600 ± 0.141 [")


def test_what_a_line_or_column_does_not_share_stands_in_the_cell() -> None:
    page = text(
        run("none", [0.5, 0.7]),
        run("none", [0.5, 0.7], regime=Regime.CENTRAL),
        run("none", [0.5, 0.7], regime=Regime.CENTRAL, seed=2),
        run("gin", [0.4]),
    )
    heading, _, none, gin = rows(page, "## Mean Dice")
    assert heading == ["method", "seeds", "MR, mr only", "MR, central, n = 2"]
    assert none[1] == ""
    assert none[2].endswith("], n = 2, 1 seed")
    assert none[3].endswith("], 2 seeds")
    assert gin == ["gin", "1", "0.400 ± – [0.40, 0.40], n = 1", "–"]


def test_shares_have_patients_and_seeds_too() -> None:
    heading = "## Relative to the baseline mr only none"
    page = text(run("none", [0.5, 0.7]), run("gin", [0.25, 0.35]))
    assert rows(page, heading)[0] == ["method", "seeds", "MR, mr only, n = 2"]
    assert rows(page, heading)[3] == ["gin", "1", "50 % [50, 50]"]


@pytest.mark.parametrize(
    ("none", "share"), [([0.0, 0.0, 0.0], "–"), ([0.0, 0.0, 0.3], "–"), ([0.1, 0.2, 0.3], "200 %")]
)
def test_nothing_is_divided_by_a_baseline_that_found_nothing(none: list[float], share: str) -> None:
    """Of 0, 0 and 0.3 one resample in three is 0, 0 and 0."""
    page = text(run("none", none), run("gin", [0.2, 0.4, 0.6]))
    found = rows(page, "## Relative to the baseline mr only none")[3]
    assert (found[0], found[2].partition(" [")[0]) == ("gin", share)
    assert "inf" not in page
    assert "nan" not in page


def test_tables_of_scarcity_say_which_patients_trained() -> None:
    page = text(run("none", [0.5], ct=1), run("none", [0.5], ct=5))
    for heading in ("## Mean Dice", "## Relative to the baseline mr only none"):
        part = page.split(f"{heading}\n")[1].split("## ")[0]
        assert re.findall(r"Training patients: (.*)\.\n\n\| method", part) == ["1ct 1mr", "5ct 1mr"]


def test_tables_of_one_organ_say_so_apart_from_who_trained() -> None:
    (spec, result), (other, second) = run("none", [0.5, 0.6]), run("gin", [0.6, 0.7], ct=5)
    page = text((replace(spec, organ="liver"), result), (replace(other, organ="left_kidney"), second))
    part = page.split("## Mean Dice\n")[1].split("## ")[0]
    assert re.findall(r"^Training.*", part, re.MULTILINE) == [
        "Training patients: all; one network for: liver.",
        "Training patients: 5ct 1mr; one network for: left kidney.",
    ]
    assert "### Dice, MR, mr only, liver\n" in page
    assert "### Dice, MR, mr only, 5ct 1mr, left kidney\n" in page
    assert "all liver" not in page


def test_arms_of_different_precision_are_told() -> None:
    (spec, first), (other, second) = run("none", [0.5, 0.7]), run("gin", [0.5, 0.7])
    page = text((spec, replace(first, precision="float32")), (other, replace(second, precision="bfloat16")))
    assert "**Arms differ in precision**, bfloat16 and float32" in page
    page = text((spec, replace(first, precision="bfloat16")), (other, replace(second, precision="bfloat16")))
    assert "2 runs, 2 rounds each, in bfloat16, written" in page
    assert "differ in precision" not in page


def test_an_organ_that_no_test_patient_shows_leaves_cells_empty() -> None:
    nobody = [math.nan, math.nan]
    page = text(run("none", nobody), run("gin", nobody), run("gin", [0.5, 0.7], regime=Regime.CENTRAL))
    assert rows(page, "## Mean Dice")[2:] == [["none", "", "–", "–"], ["gin", "1", "–", "0.600 ± 0.141 [0.50, 0.70]"]]
    assert [row[2:] for row in rows(page, "## Relative to the baseline mr only none")[2:]] == [["–", "–"]] * 2
    assert "| mr only | none |" not in page, "nothing is tested"


def test_only_what_can_be_compared_with_centralised_training_is() -> None:
    heading = "## Federated as a share of centralised training"
    federated = run("none", [0.3, 0.6], regime=Regime.FEDERATED)
    assert heading not in text(federated, run("none", [0.5, 0.7], regime=Regime.CENTRAL, seed=2))
    page = text(
        federated,
        run("gin", [0.3, 0.6], regime=Regime.FEDERATED),
        run("none", [0.6, 1.2], regime=Regime.CENTRAL),
    )
    assert [row[0] for row in rows(page, heading)[2:]] == ["none"]
    assert rows(page, heading)[2][2] == "50 % [50, 50]"


def test_the_verdict_has_the_direction_of_the_test_not_of_a_mean_that_two_patients_turn() -> None:
    none = [0.1, 0.1, *(0.90 + 0.001 * number for number in range(18))]
    gin = [0.85, 0.85, *(dice - 0.02 - 0.0001 * number for number, dice in enumerate(none[2:]))]
    assert sum(gin) > sum(none)
    said = study_page._verdict([run("none", none), run("gin", gin)]).text
    assert said.startswith("GIN is better than another method in 0 of 1 comparisons, worse in 1,")

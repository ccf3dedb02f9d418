"""What a study says about centres, from stored scores: a planted shift is found, and a reader is told so."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedgin.data.site import Modality
from fedgin.page import template_environment
from fedgin.report.centre_section import centre_section
from fedgin.report.forest import draw_forest
from fedgin.study.arm_result import ArmResult
from fedgin.study.arms import PooledArm
from fedgin.study.centres import Summary, by_centre
from fedgin.study.plan import ArmSpec, Regime
from fedgin.train.evaluate.scores import CaseScore
from tests.sites import tiny_experiment

Study = list[tuple[ArmSpec, ArmResult]]
NAMES = [f"site_{number}" for number in range(6)]


def result(spec: ArmSpec, means: Mapping[str, float]) -> tuple[ArmSpec, ArmResult]:
    """Return an arm's result: eight patients a site with two organs, who are the same in every arm."""
    noise = np.random.default_rng(spec.seed)
    scores = [
        CaseScore(site, "CT", "test", patient, patient, organ, mean + own + rest, 1.0, 1.0)
        for site, mean in means.items()
        for patient, own in enumerate(np.linspace(-0.07, 0.07, 8).tolist(), start=1)
        for organ in ("liver", "spleen")
        for rest in [0.01 * float(noise.standard_normal())]
    ]
    arm = PooledArm(spec.name, "title", tiny_experiment(), (Modality.CT,), 1)
    return spec, ArmResult(arm, scores, [], Path("model.pt"), {}, resumed=True)


def study(shift: float = 0.0, *, sites: int = 6, without: Mapping[str, float] | None = None) -> Study:
    """Return runs of two seeds: all sites have a Dice of 0.8, the last one that and a shift.

    Where sites are left out, each then has 0.1 less, and the others what ``without`` says.
    """
    means = dict.fromkeys(NAMES[:sites], 0.8)
    means[NAMES[sites - 1]] += shift
    specs = [ArmSpec(Regime.CENTRAL, "gin", seed) for seed in (1, 2)]
    found = [result(spec, means) for spec in specs]
    for site, loss in (without or {}).items():
        changed = {name: mean - (0.1 if name == site else loss) for name, mean in means.items()}
        found += [result(ArmSpec(Regime.CENTRAL, "gin", spec.seed, without=site), changed) for spec in specs]
    return found


def text(results: Study) -> str:
    written = template_environment("fedgin.report").get_template("centres.md").render(centres=centre_section(results))
    return str(written)


def test_a_planted_shift_is_found_and_named_and_no_shift_is_not() -> None:
    said = centre_section(study(-0.2))["conclusion"]
    assert "Sites differ by more than their patients do (I² 9" in said, said
    assert said.endswith("site_5 stands out.")
    said = centre_section(study())["conclusion"]
    assert "Sites were not found to differ by more than their patients do" in said
    assert said.startswith("A further centre like these can expect a mean Dice between 0.7")


def test_sites_that_were_left_out_come_first_as_a_new_centre_is_not_seen_either() -> None:
    found = centre_section(study(without=dict.fromkeys(NAMES, 0.01)))
    assert found["conclusion"].startswith("A further centre that does not train can expect a mean Dice between 0.6")
    assert found["named"](found["chosen"]) == "central gin, each site left out"
    seen, unseen = (row.centres.summary.combined.mean for row in found["rows"])
    assert seen - unseen == pytest.approx(0.1, abs=1e-6)


def test_the_contribution_of_a_site_is_what_the_others_lose_without_it() -> None:
    losses = {name: 0.01 * number for number, name in enumerate(NAMES)}
    found = centre_section(study(without=losses))["contributions"]
    assert {item.site: item.loss.value for item in found} == pytest.approx(losses)
    assert {(item.sites, item.loss.cases, item.seeds) for item in found} == {(5, 40, 2)}


def organs_of_one_site(loss: float) -> Study:
    """Return runs with all sites and without "s": everybody loses so much, and "s" alone teaches the gallbladder.

    The gallbladder has a Dice of 0.1 and is shown by a site without training cases, too; all else has 0.9.
    """
    whole, left = ArmSpec(Regime.CENTRAL, "gin", 1), ArmSpec(Regime.CENTRAL, "gin", 1, without="s")
    found = []
    for spec, organs, liver in ((whole, {"liver", "gallbladder"}, 0.9), (left, {"liver"}, 0.9 - loss)):
        rows = [(site, "liver", liver) for site in ("s", "a", "tested")] + [
            (site, "gallbladder", 0.1) for site in ("s", "tested") if "gallbladder" in organs
        ]
        scores = [
            CaseScore(site, "CT", "test", patient, patient, organ, dice, 1.0, 1.0)
            for site, organ, dice in rows
            for patient in (1, 2, 3)
        ]
        arm = PooledArm(spec.name, "title", tiny_experiment(), (Modality.CT,), 1)
        found.append((spec, ArmResult(arm, scores, [], Path("model.pt"), {}, resumed=True)))
    return found


def test_an_organ_that_a_site_alone_teaches_is_not_compared_and_is_named() -> None:
    found = centre_section(organs_of_one_site(0.1))
    [loss] = found["contributions"]
    assert loss.loss.value == pytest.approx(0.1), "everybody loses 0.1, with a gallbladder or without"
    assert (loss.untaught, loss.loss.cases) == (("gallbladder",), 6)
    seen, unseen = ({site.site: site.mean for site in row.centres.sites} for row in found["rows"])
    assert (seen["s"], unseen["s"]) == (pytest.approx(0.9), pytest.approx(0.8))
    page = text(organs_of_one_site(0.1))
    assert "What no other site teaches is left out of the means over sites: gallbladder at s." in page
    assert re.search(r"^\| s \| central gin \| 2 \| 6 \| 1 \| \+0\.100 .* \| gallbladder \|$", page, re.MULTILINE)
    page = text(study(without=dict.fromkeys(NAMES, 0.01)))
    assert "What no other site teaches" not in page


def test_a_site_of_which_every_organ_is_its_own_says_nothing_about_the_others() -> None:
    (whole, all_sites), (left, others) = organs_of_one_site(0.1)
    alone = [score for score in all_sites.scores if score.organ == "gallbladder"]
    found = centre_section([(whole, replace(all_sites, scores=alone)), (left, others)])
    assert found["contributions"] == []


def test_sites_that_were_left_out_are_told_also_where_nobody_trained_with_all() -> None:
    results = [item for item in study(without=dict.fromkeys(NAMES, 0.01)) if item[0].without]
    found = centre_section(results)
    assert found["conclusion"].startswith("A further centre that does not train can expect a mean Dice between 0.6")
    assert found["contributions"] == []
    assert "Where the variation of Dice is" not in text(results)


def test_a_site_with_the_longest_name_is_drawn() -> None:
    values = {("s" * 64 + str(site), patient): 0.5 + 0.1 * site * patient for site in range(3) for patient in range(3)}
    centres = by_centre(values)
    assert isinstance(centres.summary, Summary)
    assert "s" * 64 in draw_forest(centres, centres.summary, label="Dice")


def test_of_two_sites_nothing_is_said_about_a_third() -> None:
    page = text(study(sites=2))
    assert "cannot be estimated: 2 sites with patients, at least 3 are needed" in page
    assert "|" not in page, "no table that would say the same again"


def test_the_tables_have_a_line_for_each_result_and_each_factor() -> None:
    page = text(study(without=dict.fromkeys(NAMES, 0.01)))
    assert len(re.findall(r"^\| central gin, .* \| 2 \| 6 \| 0\.\d{3} \[", page, re.MULTILINE)) == 2
    assert len(re.findall(r"^\| site_\d \| central gin \| 5 \| 40 \| 2 \| \+0\.010", page, re.MULTILINE)) == 6
    assert "| organs | 2 | cannot be estimated: 2 levels, at least 3 are needed | |" in page
    assert re.search(r"^\| sites \| 6 \| 0\.\d{3} \| \d+ % \|$", page, re.MULTILINE)


def test_the_figure_has_every_site_the_mean_and_a_new_site_with_their_numbers() -> None:
    rng = np.random.default_rng(1)
    values = {(site, number): float(rng.normal(0.95, 0.1)) for site in ("a", "$b^", "c<") for number in range(5)}
    centres = by_centre(values)
    assert isinstance(centres.summary, Summary)
    picture = draw_forest(centres, centres.summary, label="mean Dice")
    for said in ("a (5)", "$b^ (5)", "c&lt; (5)", "mean over sites", "a new site (95 %)", "mean Dice"):
        assert f">{said}</text>" in picture
    assert len(re.findall(r">0\.\d\d \[0\.\d\d, [01]\.\d\d\]</text>", picture)) == 4
    assert re.search(r">0\.\d\d to 1\.00</text>", picture), "no Dice is above 1"
    assert "#010203" not in picture, "text has the page's colour"

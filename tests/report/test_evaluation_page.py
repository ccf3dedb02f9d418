import csv
from pathlib import Path

import pytest

from fedgin.flare.jobs.job import Job
from fedgin.report.evaluation_page import write_evaluation_report, write_live_evaluation
from fedgin.report.evaluation_table import site_table
from tests.flare.jobs.evaluation_jobs import evaluating
from tests.flare.run.evaluations import lay_out_evaluation, organ, site_answer, without_intervals

ROWS = [{"patient": 1, "case": 1, "organ": "liver", "dice": 0.91, "hd95_mm": 2.0, "surface_dice": 0.75}]


def job(*sites: str) -> Job:
    return Job(Path("jobs/evaluate"), evaluating(), 1, len(sites), sites)


def test_the_page_has_organs_and_sites_and_says_first_what_is_not_there(tmp_path: Path) -> None:
    result = lay_out_evaluation(tmp_path, {"a": site_answer(), "b_1": site_answer("MR", 0.6, withheld=["aorta"])})
    text = write_evaluation_report(tmp_path / "report.html", job("a", "b_1", "c"), "id-1", result).read_text()
    assert "Success: 2 sites scored the model on their test cases." in text
    gaps = text.index("<h2>What was not scored, or is new to the model</h2>")
    assert gaps < text.index("<h2>Dice</h2>") < text.index("<h2>Surface Dice at 2 mm</h2>")
    for line in (
        "c: no scores came",
        "a: spleen: not labelled at the site",
        "b_1: spleen: not labelled at the site; aorta: withheld, shown by too few patients",
        "b_1: has MR images; the model was trained on CT only",
    ):
        assert f"<li>{line}</li>" in text
    assert "0.800 [0.70, 0.90]" in text
    assert "4.2 [3, 6]" in text
    assert "not labelled</td>" in text
    assert "No site shows scores by case." in text
    assert not (tmp_path / "case_scores.csv").exists()


def test_a_failed_evaluation_keeps_what_the_others_scored(tmp_path: Path) -> None:
    result = lay_out_evaluation(tmp_path, {"a": site_answer()})
    text = write_evaluation_report(tmp_path / "x.html", job("a", "b"), "id", result, fault="b is missing").read_text()
    assert "No success. b is missing" in text
    assert "0.800 [0.70, 0.90]" in text


def test_a_mean_over_the_sites_of_a_modality_counts_each_site_the_same(tmp_path: Path) -> None:
    large = site_answer(mean=organ(0.5, 100), organs={"liver": organ(0.5, 100)})
    result = lay_out_evaluation(tmp_path, {"a": site_answer(dice=0.9), "b": large, "c": site_answer("MR")})
    mean, liver, spleen = site_table(result.scores, ["liver", "spleen"])
    assert [len(row.cells) for row in (mean, liver, spleen)] == [4, 4, 4]
    assert liver.cells[-1].value == pytest.approx(0.7)
    assert liver.cells[-1].text() == "0.700"
    assert [cell.text() for cell in spleen.cells] == ["not labelled", "not labelled", "not labelled", "-"]


def test_an_interval_that_a_site_did_not_tell_is_a_dash(tmp_path: Path) -> None:
    few = without_intervals(organ(0.8))
    result = lay_out_evaluation(tmp_path, {"a": site_answer(mean=few, organs={"liver": few})})
    text = write_evaluation_report(tmp_path / "report.html", job("a"), "id", result).read_text()
    assert "0.800 [-]" in text
    assert "4.2 [-]" in text
    assert "[-]: a site that does not show its cases tells no interval over fewer than 12 patients." in text
    with (tmp_path / "site_scores.csv").open() as file:
        row = next(csv.DictReader(file))
    assert (row["mean"], row["low"], row["high"]) == ("0.8", "", "")


def test_rows_by_case_are_of_the_sites_that_agreed_and_in_a_file(tmp_path: Path) -> None:
    result = lay_out_evaluation(tmp_path, {"a": site_answer(rows=ROWS), "b": site_answer()})
    text = write_evaluation_report(tmp_path / "report.html", job("a", "b"), "id", result).read_text()
    assert "<h3>a</h3>" in text
    assert "<h3>b</h3>" not in text
    with (tmp_path / "case_scores.csv").open() as file:
        [row] = csv.DictReader(file)
    assert (row["site"], row["patient"], row["organ"], row["dice"]) == ("a", "1", "liver", "0.91")
    with (tmp_path / "site_scores.csv").open() as file:
        found = [(row["site"], row["organ"], row["measure"]) for row in csv.DictReader(file)]
    assert len(found) == len(set(found)) == 2 * 2 * 3


def test_the_page_of_an_evaluation_that_runs_renews_itself_until_it_is_left(tmp_path: Path) -> None:
    said = ["site a has scored the model: Dice <b>"]
    text = write_live_evaluation(tmp_path / "x.html", job("a", "b"), "id", said).read_text()
    assert "Running: 2 sites score the model." in text
    assert "Dice &lt;b&gt;" in text
    assert 'http-equiv="refresh"' in text
    left = write_live_evaluation(tmp_path / "x.html", job("a"), "id", said, left="Nobody follows it.").read_text()
    assert "Nobody follows it." in left
    assert 'http-equiv="refresh"' not in left

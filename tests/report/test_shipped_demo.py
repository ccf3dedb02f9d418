"""The shipped table of the demonstration is what the shipped scores say."""

from pathlib import Path

from fedgin.report.comparison_table import read_scores_text, scores_text, table_text
from tests.places import ROOT

RESULTS = ROOT / "docs" / "results"


def test_the_shipped_table_is_made_of_the_shipped_scores() -> None:
    arms = read_scores_text(RESULTS / "demo.csv")
    assert [arm.title for arm in arms] == ["MR only", "CT only", "CT only, GIN", "FedAvg", "FedGIN"]
    assert table_text(arms) in (RESULTS / "demo.md").read_text(encoding="utf-8")


def test_scores_survive_the_way_through_a_file(tmp_path: Path) -> None:
    text = (RESULTS / "demo.csv").read_text(encoding="utf-8")
    assert scores_text(read_scores_text(RESULTS / "demo.csv")) == text

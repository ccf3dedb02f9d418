from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgin.flare.jobs.job import load_job
from fedgin.flare.participation import FILE, Contribution, ParticipationLog
from fedgin.flare.run.job_provenance import describe_job
from fedgin.flare.run.results import RunResult, read_cross_site
from fedgin.report.cross_site import cross_site_table
from fedgin.report.job_page import write_run_report
from tests.fuzz.mutations import as_json, damaged, explains, fuzz, raw, spliced
from tests.places import JOBS

pytestmark = pytest.mark.timeout(300)
JOB = JOBS / "abdomen_fedgin"
ANY_JOB = load_job(JOB)
METRICS = [{"name": "val_dice_mean", "value": 0.5}, {"name": "val_cases", "value": 2}, {"name": "word", "value": "x"}]
ROUND: dict[str, Any] = {"round": 0, "sites": [{"name": "a", "metrics": METRICS}, {"name": "b", "metrics": METRICS}]}
CROSS_SITE: dict[str, Any] = {
    "a": {"SRV_best": {"test_dice_mean": 0.5, "test_cases": 3}, "b": {"val_dice_mean": 0.25}},
    "b": {"SRV_best": {"test_dice_mean": 0.5}, "b": {}},
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    result = RunResult(tmp_path_factory.mktemp("run"))
    for path in (result.last_model, result.cross_site, result.folder / "metrics" / "round_metrics.jsonl"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return result


PARTICIPATION: dict[str, Any] = {
    "number": 0,
    "expected": ["a", "b"],
    "contributed": {"a": {"modality": "CT", "weight": 12.0, "cases": 1, "of_cases": 2, "slices": 5, "of_slices": 12}},
    "refused": [{"site": "b", "reason": "it changes no weight"}],
    "failed": [],
    "aggregated": True,
}
taken = damaged(PARTICIPATION).map(as_json) | spliced(as_json(PARTICIPATION)) | raw
lines = damaged(ROUND).map(as_json) | spliced(as_json(ROUND)) | raw


@fuzz("rounds")
@given(content=st.lists(lines, min_size=1, max_size=2).map(lambda parts: b"\n".join([*parts, b""])))
def test_rounds_are_read_or_refused(result: RunResult, content: bytes) -> None:
    (result.folder / "metrics" / "round_metrics.jsonl").write_bytes(content)
    explains(lambda: [metrics.dice for metrics in result.rounds])


@fuzz("participation")
@given(content=st.lists(taken, min_size=1, max_size=2).map(lambda parts: b"\n".join([*parts, b""])))
def test_who_took_part_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    taken_part = tmp_path_factory.getbasetemp() / "participation" / FILE
    taken_part.parent.mkdir(exist_ok=True, parents=True)
    taken_part.write_bytes(content)
    explains(lambda: describe_job(ANY_JOB, "job-1", RunResult(taken_part.parents[1])))


@fuzz("cross_site")
@given(content=damaged(CROSS_SITE).map(as_json) | spliced(as_json(CROSS_SITE)) | raw)
def test_a_cross_site_evaluation_is_read_or_refused(result: RunResult, content: bytes) -> None:
    result.cross_site.write_bytes(content)
    explains(lambda: cross_site_table(read_cross_site(result.cross_site)))


def test_a_site_that_reports_words_and_no_dice_is_in_the_report(result: RunResult, tmp_path: Path) -> None:
    silent = ROUND | {"sites": [{"name": "<b>", "metrics": [{"name": "val_dice_mean", "value": "x"}]}]}
    (result.folder / "metrics" / "round_metrics.jsonl").write_bytes(as_json(silent) + b"\n")
    result.cross_site.write_bytes(as_json({"<b>": {"SRV_best": {"test_dice_mean": "x"}}}))
    log = ParticipationLog(result.folder / FILE)
    log.start(0, ["<b>"])
    log.contribute("<b>", Contribution("CT", 1.0, 1, 1, 1, 1))
    log.close(aggregated=True)
    page = write_run_report(tmp_path / "run.html", load_job(JOB), "job-1", result).read_text()
    assert "<td>&lt;b&gt;</td>" in page
    assert ">nan<" in page

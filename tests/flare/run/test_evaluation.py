from dataclasses import replace
from pathlib import Path

import pytest
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.utils.decomposers import flare_decomposers

from fedgin.flare.jobs.job import Job
from fedgin.flare.protocol import EVALUATED, SERVER_MODEL
from fedgin.flare.run.results import RunResult
from fedgin.train.evaluate.site_scores import SiteScores
from tests.flare.jobs.evaluation_jobs import evaluating
from tests.flare.run.evaluations import lay_out_evaluation, site_answer


def job(least: int = 2) -> Job:
    return Job(Path("jobs/evaluate"), evaluating(), 1, least, ("a", "b"))


def test_an_evaluation_is_a_success_when_every_site_scored_the_model(tmp_path: Path) -> None:
    result = lay_out_evaluation(tmp_path, {"a": site_answer(), "b": site_answer("MR")})
    assert result.fault(job(), ["a", "b"]) == ""
    assert list(result.scores) == ["a", "b"]


@pytest.mark.parametrize("answer", [None, {}, {"val_dice_mean": 0.5}, site_answer(dice=7.0), site_answer(name="Doe")])
def test_a_site_without_a_whole_answer_is_missing_by_name(tmp_path: Path, answer: object) -> None:
    result = lay_out_evaluation(tmp_path, {"a": site_answer(), "b": answer})
    assert result.fault(job(), ["a", "b"]) == "site b did not score the model; the job needs 2 sites"
    assert result.fault(job(least=1), ["a", "b"]) == ""


def test_another_site_than_the_job_s_does_not_count(tmp_path: Path) -> None:
    result = lay_out_evaluation(tmp_path, {"a": site_answer(), "c": site_answer()})
    assert "site b did not score the model" in result.fault(job(), ["a", "b"])


def test_no_answer_at_all_is_no_success_even_of_a_job_for_whoever_comes(tmp_path: Path) -> None:
    result = lay_out_evaluation(tmp_path, {})
    assert result.fault(replace(job(), sites=()), []) == "no site scored the model; the job needs 2 sites"


def test_scores_are_read_while_the_job_runs_and_half_a_file_waits(tmp_path: Path) -> None:
    flare_decomposers.register()
    folder = tmp_path / "cross_site_val" / "result_shareables"
    folder.mkdir(parents=True)
    for site in "abc":
        path = folder / f"{site}_{SERVER_MODEL}{EVALUATED}"
        DXO(DataKind.METRICS, data={} if site == "c" else site_answer()).to_file(str(path))
    whole = path.with_name(f"b_{SERVER_MODEL}{EVALUATED}").read_bytes()
    path.with_name(f"b_{SERVER_MODEL}{EVALUATED}").write_bytes(whole[: len(whole) // 2])
    assert list(RunResult(tmp_path).scored) == ["a"]
    path.with_name(f"b_{SERVER_MODEL}{EVALUATED}").write_bytes(whole)
    assert {site: scores.in_words() for site, scores in RunResult(tmp_path).scored.items()} == {
        site: SiteScores.model_validate(site_answer()).in_words() for site in "ab"
    }

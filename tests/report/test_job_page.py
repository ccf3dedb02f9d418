import json
from dataclasses import replace
from pathlib import Path

from fedgin.flare.run.results import RunResult
from fedgin.report.job_page import write_run_report
from tests.flare.run.test_results import BEST, LAST, lay_out, make_job, measure, write_round


def page(folder: Path, rounds: list[list[str]], min_clients: int = 2) -> str:
    result = lay_out(folder, rounds)
    return write_run_report(folder / "report.html", make_job(len(rounds), min_clients), "id-1", result).read_text()


def test_the_page_opens_with_who_took_part(tmp_path: Path) -> None:
    text = page(tmp_path, [["a", "b"], ["a", "b"]])
    assert text.index("<h2>Participation</h2>") < text.index("<h2>Validation Dice by round</h2>")
    assert "2 sites were expected. Each sent an update in every one of 2 rounds, 0 were refused." in text
    assert text.count("CT, 1 of 2 cases, 5 of 12 slices") == 4
    assert "absent" not in text


def test_a_refused_site_is_named_with_its_round_and_reason(tmp_path: Path) -> None:
    text = page(tmp_path, [["a", "b"], ["a"]], min_clients=1)
    assert "1 of 4 updates are missing from the averages, 1 were refused. The job needs 1 sites a round." in text
    assert "<li>round 2, b, absent: it changes no weight</li>" in text


def test_the_chosen_model_is_marked(tmp_path: Path) -> None:
    text = page(tmp_path, [["a", "b"]])
    row = next(line for line in text.splitlines() if "<td>last round</td>" in line)
    assert "0.500" in row
    assert "chosen" in row


def test_a_site_that_the_job_names_and_that_was_never_there_is_absent_in_every_round(tmp_path: Path) -> None:
    job = replace(make_job(2, 2), sites=("a", "b", "c"))
    text = write_run_report(tmp_path / "report.html", job, "id", lay_out(tmp_path, [["a", "b"]] * 2)).read_text()
    assert "3 sites were expected. 2 of 6 updates are missing from the averages" in text
    assert "<li>round 2, c, absent: sent nothing before the round was closed</li>" in text
    assert "2 of 3 sites measured the final model." in text


def test_the_share_of_refused_draws_is_shown_by_site_where_draws_are_judged(tmp_path: Path) -> None:
    """The mean over rounds; what cannot be a share does not count."""
    path = tmp_path / "metrics" / "round_metrics.jsonl"
    assert "quality filter" not in page(tmp_path, [["a", "b"]] * 3)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line, shares in zip(lines, ({"a": 0.2, "b": 0.25}, {"a": 0.4}, {"a": 7.0}), strict=True):
        for site in line["sites"]:
            if site["name"] in shares:
                site["metrics"].append({"name": "augmentation_refused", "value": shares[site["name"]]})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = write_run_report(tmp_path / "x.html", make_job(3), "id", RunResult(tmp_path)).read_text()
    assert "quality filter refused, mean over the rounds: a 30 %, b 25 %." in text


def test_a_failed_job_has_a_report_with_its_fault(tmp_path: Path) -> None:
    write_round(tmp_path, 0, ["a"], aggregated=False)
    (tmp_path / "metrics" / "round_metrics.jsonl").unlink()
    fault = "job tiny: it ended as FINISHED:ABORTED"
    text = write_run_report(tmp_path / "x.html", make_job(3), "id", RunResult(tmp_path), fault=fault).read_text()
    assert text.index(f"No success. {fault}") < text.index("<h2>Participation</h2>")
    assert "<li>round 1, b, absent: it changes no weight</li>" in text
    assert "0 of 3 rounds ended with an average. 0 of 2 sites measured the final model." in text
    assert "Every site" not in text
    assert "chosen" not in text


def test_a_model_that_one_site_did_not_measure_leaves_the_others_in_their_columns(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a", "b"]])
    measure(result, {"a": {BEST: 0.125}, "b": {LAST: 0.5, BEST: 0.25}})
    text = write_run_report(tmp_path / "x.html", make_job(1), "id", result, fault="x").read_text()
    assert '<tr><td>a</td><td class="number">-</td><td class="number">0.125</td></tr>' in text
    assert "1 of 2 sites measured the final model." in text

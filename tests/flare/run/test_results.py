import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fedgin.errors import DataError
from fedgin.flare.jobs.job import Job
from fedgin.flare.participation import Contribution, ParticipationLog
from fedgin.flare.run.results import RunResult, first_errors
from fedgin.train.checkpoint import averaged_weights, load_checkpoint, save_checkpoint
from tests.sites import tiny_experiment

EXPERIMENT = tiny_experiment()
LAST, BEST = "SRV_FL_global_model.pt", "SRV_best_FL_global_model.pt"
MODALITIES = {"a": "CT", "b": "CT", "c": "MR"}


def make_job(rounds: int = 2, min_clients: int = 2) -> Job:
    return Job(Path("jobs/tiny"), EXPERIMENT, rounds, min_clients)


def lay_out(folder: Path, rounds: Sequence[Sequence[str]], measured: Sequence[str] = ("a", "b")) -> RunResult:
    """Write what a run leaves: the sites that contributed to each round, a model, and who measured it."""
    result = RunResult(folder)
    for number, sites in enumerate(rounds):
        write_round(folder, number, sites)
    weights = {name: value + 1.0 for name, value in averaged_weights(EXPERIMENT.initial_network()).items()}
    save_checkpoint(result.last_model, {"model": weights})
    measure(result, {site: {LAST: 0.5, BEST: 0.4} for site in measured})
    return result


def write_round(folder: Path, number: int, sites: Sequence[str], aggregated: bool = True) -> None:
    log = ParticipationLog(folder / "metrics" / "participation.jsonl")
    log.start(number, ["a", "b"])
    for site in sites:
        log.contribute(site, Contribution(MODALITIES[site], 12.0, 1, 2, 5, 12))
    log.refuse("b", "it changes no weight") if "b" not in sites else None
    log.close(aggregated=aggregated)
    metrics = [{"name": site, "metrics": [{"name": "val_dice_mean", "value": 0.5}]} for site in sites]
    with (folder / "metrics" / "round_metrics.jsonl").open("a") as file:
        file.write(json.dumps({"round": number, "sites": metrics}) + "\n")


def measure(result: RunResult, dice: dict[str, dict[str, float]]) -> None:
    values = {site: {model: {"val_dice_mean": one} for model, one in models.items()} for site, models in dice.items()}
    result.cross_site.parent.mkdir(exist_ok=True)
    result.cross_site.write_text(json.dumps(values))


def test_a_whole_run_has_no_fault(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a", "b"], ["a", "b"]])
    assert result.fault(make_job(), ["a", "b"]) == ""
    assert result.rounds[1].sites["b"] == {"val_dice_mean": 0.5}


@pytest.mark.parametrize(
    ("rounds", "measured", "fault"),
    [
        ([["a", "b"]], ["a", "b"], "1 of 2 rounds"),
        ([["a", "b"], ["a"]], ["a", "b"], "round 2 has 1 of 2 updates (b: it changes no weight)"),
        ([["a", "b"], ["b"]], ["a", "b"], "round 2 has 1 of 2 updates (a: sent nothing before the round was closed)"),
        ([["a", "b"], ["a", "b"]], ["a"], "site b did not measure the global model"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, rounds: list[list[str]], measured: list[str], fault: str) -> None:
    assert fault in lay_out(tmp_path, rounds, measured).fault(make_job(), ["a", "b"])


@pytest.mark.parametrize(
    "line",
    [
        *("{", "\xff", "[]", '{"number": 1}'),
        '{"number": 1, "expected": 7, "contributed": {}, "refused": [], "failed": [], "aggregated": true}',
        '{"number": 1, "expected": [], "contributed": {"a": {"modality": "PET", "weight": 1, "cases": 1,'
        ' "of_cases": 1, "slices": 1, "of_slices": 1}}, "refused": [], "failed": [], "aggregated": true}',
    ],
)
def test_a_damaged_record_of_who_took_part_names_file_and_line(tmp_path: Path, line: str) -> None:
    result = lay_out(tmp_path, [["a", "b"]])
    with (tmp_path / "metrics" / "participation.jsonl").open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    with pytest.raises(DataError, match=r"^participation\.jsonl, line 2 is not what the server writes\. Fix: fetch"):
        result.fault(make_job(), ["a", "b"])


def test_a_line_of_who_took_part_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a", "b"]])
    with (tmp_path / "metrics" / "participation.jsonl").open("a") as file:
        file.write('{"number": 1, "expec')
    assert [done.number for done in result.participation] == [0]


def test_an_explicit_number_of_sites_is_enough(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a", "b"], ["a"]])
    assert result.fault(make_job(min_clients=1), ["a", "b"]) == ""


def test_a_round_that_was_not_aggregated_is_no_success(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a", "b"]])
    write_round(tmp_path, 1, ["a", "b"], aggregated=False)
    assert "round 2 has 2 of 2 updates" in result.fault(make_job(), ["a", "b"])


@pytest.mark.parametrize("metrics", [{}, {"test_dice_mean": 0.5}, {"val_dice_mean": float("nan")}])
def test_a_site_that_measured_nothing_is_named(tmp_path: Path, metrics: dict[str, float]) -> None:
    result = lay_out(tmp_path, [["a", "b"], ["a", "b"]])
    result.cross_site.write_text(json.dumps({"a": {LAST: {"val_dice_mean": 0.5}}, "b": {LAST: metrics}}))
    assert "site b did not measure" in result.fault(make_job(), ["a", "b"])


@pytest.mark.parametrize("answer", [[0.5], 0.5, {LAST: [0.5]}, {LAST: {"val_dice_mean": 10**400}}])
def test_what_one_site_left_in_the_evaluation_does_not_take_it_from_the_others(tmp_path: Path, answer: Any) -> None:
    result = lay_out(tmp_path, [["a", "b"], ["a", "b"]])
    result.cross_site.write_text(json.dumps({"a": {LAST: {"val_dice_mean": 0.5}}, "b": answer}))
    assert result.candidates == {"FL_global_model.pt": 0.5}
    assert "site b did not measure" in result.fault(make_job(), ["a", "b"])
    assert result.fault(make_job(min_clients=1), ["a", "b"]) == ""


def test_a_run_without_model_is_no_success(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a", "b"]])
    result.last_model.unlink()
    assert result.fault(make_job(rounds=1), ["a", "b"]) == "there is no global model"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda weights: {name: value - 1.0 for name, value in weights.items()}, "the global model is the initial one"),
        (lambda weights: {name: value * torch.nan for name, value in weights.items()}, "holds NaN or infinity"),
        (lambda weights: dict(list(weights.items())[1:]), "is missing"),
    ],
)
def test_a_model_that_is_no_result_is_no_success(tmp_path: Path, change: Any, fault: str) -> None:
    result = lay_out(tmp_path, [["a", "b"]])
    weights = change(load_checkpoint(result.last_model)["model"])
    if fault.endswith("initial one"):  # to the last bit, which adding and subtracting 1 need not be
        weights = averaged_weights(EXPERIMENT.initial_network())
    save_checkpoint(result.last_model, {"model": weights})
    assert fault in result.fault(make_job(rounds=1), ["a", "b"])


def test_the_model_is_chosen_by_the_mean_of_the_modalities_means(tmp_path: Path) -> None:
    """The mean over sites would choose the other: two CT sites outvote one MR site there."""
    result = lay_out(tmp_path, [["a", "b", "c"]])
    measure(result, {"a": {LAST: 0.6, BEST: 0.8}, "b": {LAST: 0.6, BEST: 0.8}, "c": {LAST: 0.6, BEST: 0.3}})
    assert result.candidates == pytest.approx({"FL_global_model.pt": 0.6, "best_FL_global_model.pt": 0.55})
    assert result.chosen_model == result.last_model


def test_an_earlier_model_may_be_better_than_the_last(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a", "b"]])
    measure(result, {"a": {LAST: 0.6, BEST: 0.7, "a": 0.9}, "b": {LAST: 0.6, BEST: 0.6, "a": 0.9}})
    assert result.chosen_model == result.best_model


@pytest.mark.parametrize("claim", [1e9, 0.99, -1.0, None])
def test_a_site_without_any_contribution_has_no_say_in_the_choice(tmp_path: Path, claim: float | None) -> None:
    """Neither with what it claims, for the model that it likes, nor by leaving a model out."""
    result = lay_out(tmp_path, [["a", "b"], ["a"]])
    claimed = {LAST: 0.0} | ({BEST: claim} if claim is not None else {})
    measure(result, {"a": {LAST: 0.6, BEST: 0.7}, "b": {LAST: 0.6, BEST: 0.4}, "refused": claimed})
    assert result.candidates == pytest.approx({"FL_global_model.pt": 0.6, "best_FL_global_model.pt": 0.55})
    assert result.chosen_model == result.last_model


@pytest.mark.parametrize("claim", [1e9, 1.001, -0.001, float("inf")])
def test_what_is_no_dice_is_no_measurement(tmp_path: Path, claim: float) -> None:
    result = lay_out(tmp_path, [["a", "b"]])
    measure(result, {"a": {LAST: 0.6, BEST: claim}, "b": {LAST: 0.6, BEST: 0.6}})
    assert list(result.candidates) == ["FL_global_model.pt"]
    measure(result, {"a": {LAST: claim, BEST: 0.6}, "b": {LAST: 0.6, BEST: 0.6}})
    assert "site a did not measure the global model" in result.fault(make_job(rounds=1), ["a", "b"])


def test_a_model_that_a_site_did_not_measure_is_no_candidate(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a", "b"]])
    measure(result, {"a": {LAST: 0.6, BEST: 0.9}, "b": {LAST: 0.6}})
    assert list(result.candidates) == ["FL_global_model.pt"]
    assert result.chosen_model == result.last_model


def test_a_line_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a"]])
    for name in ("round_metrics", "participation"):
        with (tmp_path / "metrics" / f"{name}.jsonl").open("a") as file:
            file.write('{"round": 1, "si')
    assert [metrics.number for metrics in result.rounds] == [0]
    assert [done.number for done in result.participation] == [0]


def test_the_first_errors_of_a_log_are_quoted(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert first_errors(log) == []
    log.write_text("x - INFO - fine\n" + "".join(f"x - ERROR - number {n}\n" for n in range(9)))
    assert [line[-1] for line in first_errors(log)] == list("01234")


def test_an_error_is_quoted_without_its_context_and_not_behind_those_of_the_transport(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    noise = "t - blob_streamer - ERROR - blob_cb threw\nTraceback (most recent call last):\n  File x\n"
    context = "[identity=server, run=1, peer=ct-a, task_id=2] - "
    log.write_text(6 * noise + f"t - RoundRecorder - ERROR - {context}site ct-a: disk full\nTraceback of it\n")
    assert first_errors(log) == ["t - RoundRecorder - ERROR - site ct-a: disk full", "Traceback of it"]

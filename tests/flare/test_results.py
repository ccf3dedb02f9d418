import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from fedgin.flare.results import RunResult, first_errors


def lay_out(folder: Path, rounds: Sequence[Sequence[str]], measured: Sequence[str] = ("a", "b")) -> RunResult:
    """Write what FLARE leaves: the sites that answered in each round, a model, and who measured it."""
    for name in ("metrics", "app_server", "cross_site_val"):
        (folder / name).mkdir(parents=True)
    lines = [
        json.dumps(
            {
                "round": number,
                "sites": [{"name": site, "metrics": [{"name": "val_dice_mean", "value": 0.5}]} for site in sites],
            }
        )
        for number, sites in enumerate(rounds)
    ]
    (folder / "metrics" / "round_metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "app_server" / "FL_global_model.pt").write_bytes(b"model")
    (folder / "cross_site_val" / "cross_val_results.json").write_text(json.dumps({site: {} for site in measured}))
    return RunResult(folder)


def test_a_whole_run_has_no_fault(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a", "b"], ["a", "b"]])
    assert result.fault(rounds=2, sites=["a", "b"]) == ""
    assert result.rounds[1].sites["b"] == {"val_dice_mean": 0.5}


@pytest.mark.parametrize(
    ("rounds", "measured", "fault"),
    [
        ([["a", "b"]], ["a", "b"], "1 of 2 rounds"),
        ([["a", "b"], ["a"]], ["a", "b"], "site b sent nothing in round 1"),
        ([["a", "b"], ["a", "b"]], ["a"], "cross-site"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, rounds: list[list[str]], measured: list[str], fault: str) -> None:
    assert fault in lay_out(tmp_path, rounds, measured).fault(rounds=2, sites=["a", "b"])


def test_a_run_without_model_is_no_success(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a"]], ["a"])
    result.last_model.unlink()
    assert result.fault(rounds=1, sites=["a"]) == "there is no global model"


def test_a_line_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a"]])
    with (tmp_path / "metrics" / "round_metrics.jsonl").open("a") as file:
        file.write('{"round": 1, "si')
    assert [metrics.number for metrics in result.rounds] == [0]


def test_the_first_errors_of_a_log_are_quoted(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert first_errors(log) == ""
    log.write_text("x - INFO - fine\n" + "".join(f"x - ERROR - number {n}\n" for n in range(9)))
    assert [line.strip()[-1] for line in first_errors(log).splitlines() if line] == list("01234")

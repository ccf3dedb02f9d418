from pathlib import Path

from fedgin.study.run_report import write_run_report
from tests.flare.test_results import lay_out, make_job


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
    row = next(line for line in text.splitlines() if "<td>FL_global_model.pt</td>" in line)
    assert "0.500" in row
    assert "chosen" in row

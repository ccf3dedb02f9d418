import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.flare.audit.security_log import Kind, record
from fedgin.folders import FolderError


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    kit = tmp_path / "kit"
    kit.mkdir()
    record(kit, Kind.JOB_OFFERED, job_id="6f7f", job="organs", person="l@x.org", organisation="office", role="lead")
    record(kit, Kind.JOB_REFUSED, job_id="6f7f", reason="the job carries 'custom'")
    record(kit, Kind.COMMAND_REFUSED, person="m@x.org", role="member", command="submit_job", reason="not authorized")
    (kit / "audit.log").write_text("[E:1][T:2026-11-24 12:00:00.000001][U:l@x.org][A:abort_job 6f7f]\n")
    return kit


def audit(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["audit", *map(str, arguments)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_refusals_stand_out_with_who_what_and_why(kit: Path) -> None:
    output = audit(kit)
    [refused] = [line for line in output.splitlines() if "job REFUSED" in line]
    assert "organs 6f7f" in refused
    assert "the job carries 'custom'" in refused
    [command] = [line for line in output.splitlines() if "command REFUSED" in line]
    assert "m@x.org (member)" in command
    assert "submit_job: not authorized" in command
    [allowed] = [line for line in output.splitlines() if "abort_job 6f7f" in line]
    assert "REFUSED" not in allowed
    assert "4 lines, 2 refused, 0 damaged" in output


def test_damage_is_counted_and_named(kit: Path) -> None:
    log = kit / "security.jsonl"
    log.write_text(log.read_text().replace("custom", "nothing"))
    output = audit(kit)
    assert "1 damaged" in output
    assert "DAMAGED  security.jsonl, line 3: does not follow from what is before it" in output


def test_since_leaves_out_what_was_before(kit: Path) -> None:
    assert "0 lines, 0 refused" in audit(kit, "--since", "2999-01-01")
    assert "4 lines, 2 refused" in audit(kit, "--since", "2026-11-01")


@pytest.mark.parametrize("out", ["", "kit", "kit/audit.log/audit.csv"])
def test_a_csv_file_that_cannot_be_written_is_told(kit: Path, tmp_path: Path, out: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(app, ["audit", str(kit), "--out", str(tmp_path / out)])
    assert isinstance(done.exception, FolderError), done.exception
    assert "cannot be written: " in done.exception.problem
    assert done.exception.fix == "give another file with --out"
    assert sorted(tmp_path.rglob("*")) == before


def test_the_csv_file_has_every_line_and_runs_nothing_in_a_spreadsheet(kit: Path, tmp_path: Path) -> None:
    record(kit, Kind.JOB_OFFERED, job_id="77", job="=HYPERLINK(1)")
    audit(kit, "--out", tmp_path / "audit.csv")
    with (tmp_path / "audit.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert {row["job"] for row in rows} == {"", "organs 6f7f", "'=HYPERLINK(1) 77"}
    assert [row["what"] for row in rows if row["refused"] == "yes"] == ["job_refused", "command_refused"]


def test_a_job_cannot_steer_the_terminal(kit: Path) -> None:
    record(kit, Kind.JOB_OFFERED, job_id="77", job="\x1b[2J\x1b]0;owned\x07 [bold]innocent[/]")
    output = audit(kit)
    assert "\x1b" not in output
    assert "\x07" not in output
    assert "[bold]" in output


def test_copied_files_can_be_read_elsewhere(kit: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    copied.mkdir()
    (copied / "security.jsonl").write_bytes((kit / "security.jsonl").read_bytes())
    output = audit(copied)
    assert "3 lines, 2 refused" in output
    assert "security.head: missing or not readable, so a cut-off end would not be noticed" in output


def test_a_program_gets_every_line_as_json(kit: Path) -> None:
    found = json.loads(audit(kit, "--format", "json"))
    assert [line["what"] for line in found["lines"] if line["refused"]] == ["job_refused", "command_refused"]
    assert found["lines"][-1].keys() == {"time", "source", "what", "refused", "who", "job", "detail"}
    assert found["damage"] == []

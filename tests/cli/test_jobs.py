"""What operators see of the queue, and how they end a job."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from nvflare.fuel.flare_api.api_spec import JobNotFound
from typer.testing import CliRunner, Result

from fedgin.cli.main import app
from fedgin.flare.run.console import ConsoleError


class Server:
    """Has jobs, and ends one a moment after it was aborted."""

    def __init__(self, *jobs: tuple[str, str], history: tuple[str, ...] = ()) -> None:
        self.metas = {
            name: {
                "job_id": name,
                "name": "abdomen",
                "status": state,
                "submit_time": float(at),
                "submitter_name": "l@x",
            }
            for at, (name, state) in enumerate(jobs)
        }
        for meta in self.metas.values():
            meta["schedule_history"] = list(history) if meta["status"] == "SUBMITTED" else None
        self.aborted: list[str] = []

    def list_jobs(self, *, detailed: bool) -> list[dict[str, Any]]:
        return list(reversed(self.metas.values()))

    def get_job_meta(self, job_id: str) -> dict[str, Any]:
        if job_id not in self.metas:
            raise JobNotFound(f"no such job\n{job_id}")
        meta = dict(self.metas[job_id])
        if job_id in self.aborted:
            self.metas[job_id]["status"] = "FINISHED:ABORTED"
        return meta

    def abort_job(self, job_id: str) -> None:
        self.aborted.append(job_id)


def say(monkeypatch: pytest.MonkeyPatch, server: Server, *command: str) -> Result:
    @contextlib.contextmanager
    def connect(kit: object) -> Iterator[Server]:
        yield server

    monkeypatch.setattr("fedgin.flare.run.console.connect", connect)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return CliRunner().invoke(app, [*command, "--kit", "kit"])


def test_jobs_are_listed_with_place_and_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(("a", "FINISHED:COMPLETED"), ("b", "RUNNING"), ("c", "SUBMITTED"), ("d", "SUBMITTED"))
    rows = json.loads(say(monkeypatch, server, "jobs", "--format", "json").output)
    assert [(row["job"], row["state"], row["place"]) for row in rows] == [
        *(("a", "FINISHED:COMPLETED", 0), ("b", "RUNNING", 0)),
        *(("c", "SUBMITTED", 1), ("d", "SUBMITTED", 2)),
    ]
    assert [row["waits for"] for row in rows] == [
        *("", "", "job b, which is RUNNING"),
        "job b, which is RUNNING, then 1 submitted before it",
    ]


def test_a_job_that_no_other_holds_up_shows_the_servers_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(
        ("a", "SUBMITTED"), history=("2026-11-28 10:00:00: old", "2026-11-28 10:01:00: missing site \x1b[2J")
    )
    [row] = json.loads(say(monkeypatch, server, "jobs", "--format", "json").output)
    assert row["waits for"] == "missing site \N{REPLACEMENT CHARACTER}[2J"
    assert "place" in say(monkeypatch, server, "jobs").output


def test_an_empty_server_is_no_empty_table(monkeypatch: pytest.MonkeyPatch) -> None:
    assert say(monkeypatch, Server(), "jobs").output == "No job was submitted yet.\n"
    assert say(monkeypatch, Server(), "jobs", "--format", "json").output == "[]\n"


def test_an_abort_waits_for_the_end_and_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(("a", "RUNNING"))
    done = say(monkeypatch, server, "abort", "a")
    assert server.aborted == ["a"]
    assert done.output == "job a FINISHED:ABORTED. Go on with it: fedgin resume a --kit kit\n"


@pytest.mark.parametrize(
    ("job", "problem"), [("a", "job a had ended before: FINISHED:COMPLETED"), ("z", "job z: no such job")]
)
def test_nothing_is_aborted_twice_or_by_a_wrong_id(monkeypatch: pytest.MonkeyPatch, job: str, problem: str) -> None:
    server = Server(("a", "FINISHED:COMPLETED"))
    error = say(monkeypatch, server, "abort", job).exception
    assert isinstance(error, ConsoleError)
    assert error.problem.startswith(problem)
    assert server.aborted == []

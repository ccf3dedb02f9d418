"""Following a job over a connection that comes and goes."""

from collections.abc import Callable
from typing import Any

import pytest
from nvflare.fuel.flare_api.api_spec import (
    AuthenticationError,
    InternalError,
    JobNotFound,
    JobNotRunning,
    MonitorReturnCode,
    NoConnection,
    NoReply,
    SessionClosed,
)

from fedgin.flare.protocol import ORGANS
from fedgin.flare.run import follow as following
from fedgin.flare.run.console import ConsoleError
from fedgin.flare.run.follow import follow


class Server:
    """Loses the connection so many times between two polls, then ends the job."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.polls = 0

    def monitor_job_and_return_job_meta(
        self, job_id: str, *, poll_interval: float, cb: Callable[..., bool]
    ) -> tuple[MonitorReturnCode, dict[str, Any]]:
        self.polls += 1
        meta = {"status": "RUNNING"}
        if self.polls % 2:
            cb(self, job_id, meta)
        if self.losses:
            self.losses -= 1
            raise NoConnection("cannot connect to server")
        return MonitorReturnCode.JOB_FINISHED, {"status": "FINISHED:COMPLETED"}

    def show_stats(self, job_id: str, target: str) -> dict[str, Any]:
        raise JobNotRunning(job_id)

    def list_jobs(self, *, detailed: bool) -> list[dict[str, Any]]:
        return []


def see(server: Server) -> dict[str, Any]:
    return follow(server, "job-1", on_status=lambda text: None, on_round=lambda metrics: None)


def test_lost_messages_do_not_end_the_following(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.0)
    assert see(Server(losses=5)) == {"status": "FINISHED:COMPLETED"}


def test_a_server_that_stays_away_is_named_and_the_job_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.05)
    server = Server(losses=0)
    server.monitor_job_and_return_job_meta = _lost  # type: ignore[method-assign]
    with pytest.raises(ConsoleError, match="could not be reached"):
        see(server)


def _lost(*_: object, **__: object) -> tuple[MonitorReturnCode, dict[str, Any]]:
    raise NoConnection("cannot connect to server")


ENDS = [
    (JobNotFound("no such job: job-1"), "job job-1: the server has no such job. Fix: see 'fedgin jobs'"),
    (InternalError("protocol error"), "job job-1 cannot be followed: protocol error. Fix: the job may well go on"),
    (SessionClosed("the session is closed on server"), "cannot be followed: the session is closed on server. Fix"),
    (AuthenticationError("user not authenticated"), "cannot be followed: user not authenticated. Fix"),
    (
        RuntimeError("runtime error\nencountered"),
        "cannot be followed: runtime error\N{REPLACEMENT CHARACTER}encountered",
    ),
    (NoReply(), "cannot be followed: NoReply. Fix"),
]


@pytest.mark.parametrize(("raised", "told"), ENDS, ids=lambda value: type(value).__name__)
def test_whatever_else_the_server_answers_is_one_line(raised: Exception, told: str) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise raised

    server = Server(losses=0)
    server.monitor_job_and_return_job_meta = refuse  # type: ignore[method-assign]
    with pytest.raises(ConsoleError) as caught:
        see(server)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raised", [raised for raised, _ in ENDS] + [NoConnection(), KeyError("server")], ids=repr)
def test_statistics_that_cannot_be_had_do_not_end_the_following(
    monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def refuse(*_: object) -> Any:
        raise raised

    monkeypatch.setattr(following, "POLL_SECONDS", 0.0)
    server = Server(losses=2)
    monkeypatch.setattr(server, "show_stats", refuse)
    assert see(server) == {"status": "FINISHED:COMPLETED"}


class Training(Server):
    """Shows what RoundRecorder shows, one state after the other."""

    def __init__(self, *answered: tuple[int | None, list[str]]) -> None:
        super().__init__(losses=2 * len(answered))
        self.states = list(answered)

    def show_stats(self, job_id: str, target: str) -> dict[str, Any]:
        number, sites = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        rounds = {str(number): {site: {"val_dice_mean": 0.5} for site in sites}} if sites else {}
        ours = {"expected": ["a", "b", "c"], "rounds": rounds, "failures": []}
        return {"server": {"fedgin": ours, "ScatterAndGather": {"current_round": number}}}


def said_by(monkeypatch: pytest.MonkeyPatch, server: Any, late: float) -> list[str]:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(following, "LATE_SECONDS", late)
    monkeypatch.setattr(following, "START_SECONDS", late)
    said: list[str] = []
    follow(server, "job-1", on_status=said.append, on_round=lambda metrics: None)
    return said


def said_of(monkeypatch: pytest.MonkeyPatch, *answered: tuple[int | None, list[str]], late: float = 0.0) -> list[str]:
    return [line for line in said_by(monkeypatch, Training(*answered), late) if "waits" in line]


def test_late_sites_are_named_once_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    said = said_of(monkeypatch, (0, ["a"]), (0, ["a"]), (0, ["a", "b", "c"]), (1, ["c"]), (1, ["c"]))
    assert said == [
        "round 1 waits for b, c; the other sites have answered",
        "round 2 waits for a, b; the other sites have answered",
    ]


def test_nobody_is_late_before_anyone_answered_or_while_answers_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said_of(monkeypatch, (0, []), (0, [])) == []
    assert said_of(monkeypatch, (0, ["a"]), (0, ["a", "b"]), (0, ["a", "b", "c"]), late=60.0) == []


def test_a_job_whose_controller_starts_has_no_round_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said_of(monkeypatch, (None, []), (0, ["a"])) == ["round 1 waits for b, c; the other sites have answered"]


class Waiting(Server):
    """Has a job that is not started, and notes why or does not."""

    def __init__(self, *reasons: str) -> None:
        super().__init__(losses=4)
        self.history = [f"2026-11-28 10:00:0{number}: {reason}" for number, reason in enumerate(reasons)]

    def monitor_job_and_return_job_meta(
        self, job_id: str, *, poll_interval: float, cb: Callable[..., bool]
    ) -> tuple[MonitorReturnCode, dict[str, Any]]:
        cb(self, job_id, {"status": "SUBMITTED", "schedule_history": self.history or None})
        return super().monitor_job_and_return_job_meta(job_id, poll_interval=poll_interval, cb=lambda *_: True)


def reasons_told(monkeypatch: pytest.MonkeyPatch, *reasons: str, late: float) -> list[str]:
    return [line for line in said_by(monkeypatch, Waiting(*reasons), late) if "start it" in line]


def test_the_reasons_why_a_job_is_not_started_are_told_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    few = "connected sites (1) < min_sites (3)"
    said = reasons_told(monkeypatch, few, few, "missing required site mr-a", late=0.0)
    assert said == [f"the server could not start it yet: {why}" for why in (few, "missing required site mr-a")]


def test_a_server_that_does_not_try_to_start_a_job_is_named_once_the_sites_had_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert reasons_told(monkeypatch, late=60.0) == []
    [line] = reasons_told(monkeypatch, late=0.0)
    assert line == "the server has not tried to start it yet, although no other job runs. Fix: restart the server"


def test_a_job_that_waits_for_another_one_is_told_for_which(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Waiting()
    others = [("job-0", "RUNNING"), ("job-x", "SUBMITTED"), ("job-1", "SUBMITTED"), ("job-2", "SUBMITTED")]
    metas = [{"job_id": name, "status": state, "submit_time": at} for at, (name, state) in enumerate(others)]
    monkeypatch.setattr(
        server, "list_jobs", lambda *, detailed: [{"job_id": "job-9", "status": "FINISHED:ABORTED"}, *metas]
    )
    said = said_by(monkeypatch, server, late=0.0)
    assert "it waits for job job-0, which is RUNNING, then 1 submitted before it" in said
    assert not [line for line in said if "restart" in line]


def test_after_the_last_round_the_silence_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Training((1, ["a", "b", "c"]))
    stats = server.show_stats("job-1", "server")
    stats["server"]["ServerRunner"] = {"workflow": "cross_site_eval"}
    monkeypatch.setattr(server, "show_stats", lambda job_id, target: stats)
    said = said_by(monkeypatch, server, late=60.0)
    assert [line for line in said if "measures the final models" in line] == [said[-1]]


def test_the_organs_of_each_site_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Training((0, []), (0, []))
    stats = server.show_stats("job-1", "server")
    stats["server"][ORGANS] = {"organs": ["liver", "spleen"], "sites": {"a": {"liver": "<3"}}, "silent": ["b"]}
    monkeypatch.setattr(server, "show_stats", lambda job_id, target: stats)
    assert [line for line in said_by(monkeypatch, server, late=60.0) if "labels" in line] == [
        "site a, <3 training cases, labels liver; not spleen",
        "site b did not say which organs it labels",
    ]


def test_what_a_round_waits_for_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.0)
    said: list[str] = []
    server = Training((0, []), (0, ["a"]))
    follow(server, "job-1", on_status=lambda text: None, on_round=lambda metrics: None, on_progress=said.append)
    assert said[0].startswith("round 1: 0 of 3 sites have answered")
    assert said[-1].startswith("round 1: 1 of 3 sites have answered, the last 0 s ago")

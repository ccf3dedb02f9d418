"""Following a job over a connection that comes and goes."""

from collections.abc import Callable
from typing import Any

import pytest
from nvflare.fuel.flare_api.api_spec import JobNotRunning, MonitorReturnCode, NoConnection

from fedgin.flare import console
from fedgin.flare.console import ConsoleError, follow


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


def see(server: Server) -> dict[str, Any]:
    return follow(server, "job-1", on_status=lambda text: None, on_round=lambda metrics: None)


def test_lost_messages_do_not_end_the_following(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "POLL_SECONDS", 0.0)
    assert see(Server(losses=5)) == {"status": "FINISHED:COMPLETED"}


def test_a_server_that_stays_away_is_named_and_the_job_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(console, "PATIENCE_SECONDS", 0.05)
    server = Server(losses=0)
    server.monitor_job_and_return_job_meta = _lost  # type: ignore[method-assign]
    with pytest.raises(ConsoleError, match="could not be reached"):
        see(server)


def _lost(*_: object, **__: object) -> tuple[MonitorReturnCode, dict[str, Any]]:
    raise NoConnection("cannot connect to server")

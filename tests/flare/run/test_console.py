"""A console whose messages get lost."""

from typing import Any

import pytest
from nvflare.fuel.flare_api.api_spec import NoConnection

from fedgin.flare.run import console
from fedgin.flare.run.console import ConsoleError, abort, job_record


class Server:
    """Runs a job, and hears what is said to it but for the messages with these numbers."""

    def __init__(self, *lost: int) -> None:
        self.lost, self.asked, self.status = lost, 0, "RUNNING"

    def get_job_meta(self, job_id: str) -> dict[str, Any]:
        self.asked += 1
        if self.asked in self.lost:
            raise NoConnection("cannot connect to server")
        return {"job_id": job_id, "status": self.status}

    def abort_job(self, job_id: str) -> None:
        self.status = "FINISHED:ABORTED"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "POLL_SECONDS", 0.0)


def test_a_lost_message_loses_no_record() -> None:
    server: Any = Server(1, 2)
    assert job_record(server, "job-1")["status"] == "RUNNING"


def test_an_abort_that_the_server_heard_is_told_though_a_message_is_lost() -> None:
    server: Any = Server(2)
    assert abort(server, "job-1") == "FINISHED:ABORTED"


def test_a_server_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "PATIENCE_SECONDS", 0.05)
    server: Any = Server(*range(10**6))
    with pytest.raises(
        ConsoleError, match=r"job job-1: the server could not be reached for 0 s\. Fix: look at the server"
    ):
        job_record(server, "job-1")

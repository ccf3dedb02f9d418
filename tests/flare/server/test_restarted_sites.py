"""A site that logs in again while a job runs, on FLARE's own manager of clients and handler of heartbeats."""

import contextlib
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from nvflare.apis.client import Client
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import RunProcessKey
from nvflare.apis.fl_context import FLContext
from nvflare.private.defs import CellMessageHeaderKeys, new_cell_message
from nvflare.private.fed.server.fed_server import FederatedServer
from nvflare.private.fed.server.job_runner import JobRunner

from fedgin.flare.server.restarted_sites import RestartedSites

JOB = "0f7a2a3c-2f5e-4a54-9d5c-6a3d3b0f9a11"


class Server:
    """What FLARE's server has of a job of two sites; a third one is registered.

    Args:
        folder: for FLARE's own job runner.
        ours: whether the kit's part is there.
    """

    def __init__(self, folder: Path, *, ours: bool = True) -> None:
        self.clients = {f"{name} 1": Client(name, f"{name} 1") for name in ("ct-a", "mr-a", "stranger")}
        self.runner = JobRunner(str(folder))
        self.runner.running_jobs[JOB] = SimpleNamespace(job_id=JOB, run_aborted=False)
        self.runner._pending_client_outcomes[JOB] = {"ct-a", "mr-a"}
        self.failed = list[str]()
        self.runner.fail_run = lambda job_id, code, fl_ctx: self.failed.append(job_id)
        self.engine = Mock(exception_run_processes={}, job_runner=self.runner, new_context=contextlib.nullcontext)
        taking_part = {token: client for token, client in self.clients.items() if client.name != "stranger"}
        self.engine.run_processes = {JOB: {RunProcessKey.PARTICIPANTS: taking_part}, "starting": {}}
        manager = SimpleNamespace(clients=self.clients)
        self.engine.server = self.server = SimpleNamespace(client_manager=manager, engine=self.engine, logger=Mock())
        self.server._job_reported_clients, self.server._job_reported_clients_lock = {}, threading.Lock()
        for name in ("_notify_dead_job", "_resolve_missing_client_outcome"):
            setattr(self.server, name, getattr(FederatedServer, name).__get__(self.server))
        self.part = RestartedSites() if ours else None

    def happens(self, event: str) -> None:
        """Let FLARE fire an event."""
        context = FLContext()
        context.set_prop("__engine__", self.engine, private=True, sticky=False)
        if self.part:
            self.part.handle_event(event, context)

    def log_in(self, name: str, token: str) -> None:
        """Let a site log in: FLARE forgets the tokens it had, and fires an event."""
        for old in [old for old, client in self.clients.items() if client.name == name]:
            del self.clients[old]
        self.clients[token] = Client(name, token)
        self.happens(EventType.CLIENT_REGISTER_PROCESSED)

    def heartbeat(self, token: str, *jobs: str) -> None:
        """Let a site say which jobs it runs."""
        request = new_cell_message({CellMessageHeaderKeys.JOB_IDS: list(jobs)}, None)
        FederatedServer._sync_client_jobs(self.server, request, token)

    @property
    def told(self) -> list[str]:
        """The sites that the job was told to be dead, as often as it was told."""
        return [call.args[1] for call in self.engine.notify_dead_job.call_args_list]


def test_flare_alone_never_tells_the_job(tmp_path: Path) -> None:
    """Once this fails, FLARE has mended it."""
    server = Server(tmp_path, ours=False)
    server.heartbeat("mr-a 1", JOB)
    server.log_in("mr-a", "mr-a 2")
    server.heartbeat("mr-a 2")
    assert server.told == []


@pytest.mark.parametrize("seen", [True, False], ids=["ran", "was_being_started"])
def test_the_job_hears_of_it_with_each_heartbeat(tmp_path: Path, seen: bool) -> None:
    server = Server(tmp_path)
    for token in ("ct-a 1", "mr-a 1") if seen else ():
        server.heartbeat(token, JOB)
    server.log_in("mr-a", "mr-a 2")
    for _ in range(3):
        server.heartbeat("ct-a 1", JOB)
        server.heartbeat("mr-a 2")
    assert server.told == ["mr-a"] * 3


def test_it_may_be_started_again_twice(tmp_path: Path) -> None:
    server = Server(tmp_path)
    for token in ("mr-a 2", "mr-a 3"):
        server.log_in("mr-a", token)
    server.heartbeat("mr-a 3")
    assert server.told == ["mr-a"]
    FederatedServer.notify_dead_client(server.server, server.clients["mr-a 3"])
    assert server.told == ["mr-a"] * 2, "and dies as any other site"


def test_others_who_log_in_change_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path)
    before = server.engine.run_processes[JOB][RunProcessKey.PARTICIPANTS]
    server.log_in("stranger", "stranger 2")
    server.log_in("late", "late 1")
    assert server.engine.run_processes[JOB][RunProcessKey.PARTICIPANTS] is before
    for token in ("stranger 2", "late 1", "ct-a 1", "mr-a 1"):
        server.heartbeat(token)
    assert server.told == []


def test_a_job_that_the_site_still_runs_is_not_told(tmp_path: Path) -> None:
    """Were a site to log in again without losing its job, its heartbeats would name the job."""
    server = Server(tmp_path)
    server.log_in("mr-a", "mr-a 2")
    server.heartbeat("mr-a 2", JOB)
    assert server.told == []


def test_a_job_that_went_on_without_the_site_has_not_failed(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.log_in("mr-a", "mr-a 2")
    server.engine.run_processes.pop(JOB)  # its process at the server ended well
    server.heartbeat("mr-a 2")
    assert server.failed == []
    assert not server.runner.is_client_outcome_pending(JOB, "mr-a")
    assert server.runner.is_client_outcome_pending(JOB, "ct-a")


def test_a_site_that_was_started_again_while_the_job_was_started_is_found(tmp_path: Path) -> None:
    server = Server(tmp_path)
    job = server.engine.run_processes.pop(JOB)
    server.log_in("mr-a", "mr-a 2")
    server.engine.run_processes[JOB] = job
    server.happens(EventType.JOB_STARTED)
    server.heartbeat("mr-a 2")
    assert server.told == ["mr-a"]


def test_who_logs_in_at_the_same_moment_waits(tmp_path: Path) -> None:
    """Else one would write what it read before the other came."""
    server, reads = Server(tmp_path), list[bool]()

    class Watched(dict[str, Client]):
        def values(self) -> Any:
            reads.append(server.server._job_reported_clients_lock.locked())
            return super().values()

    server.server.client_manager.clients = Watched(server.clients)
    server.happens(EventType.CLIENT_REGISTER_PROCESSED)
    assert reads == [True]

"""A site's report of its own failure, on FLARE's own cell, job runner and handler of reports."""

import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from nvflare.apis.client import Client
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import RunProcessKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_def import Job, JobMetaKey
from nvflare.apis.job_launcher_spec import JobReturnCode
from nvflare.fuel.common.exit_codes import ProcessExitCode
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.stats_pool import StatsPoolManager
from nvflare.private.defs import CellMessageHeaderKeys, new_cell_message
from nvflare.private.fed.server.fed_server import FederatedServer
from nvflare.private.fed.server.job_runner import JobRunner

from fedgin.flare.audit.security_log import Kind, read_log
from fedgin.flare.server.failed_sites import REPORT, FailedSites

JOB = "0f7a2a3c-2f5e-4a54-9d5c-6a3d3b0f9a11"
TAKING_PART, REGISTERED = ("ct-a", "ct-b", "mr-a"), ("ct-a", "ct-b", "mr-a", "stranger")
FAILURES = (
    ProcessExitCode.EXCEPTION,
    ProcessExitCode.UNSAFE_COMPONENT,
    ProcessExitCode.CONFIG_ERROR,
    ProcessExitCode.INFRASTRUCTURE_ERROR,
    JobReturnCode.ABORTED,
)


@pytest.fixture(autouse=True)
def cells_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a process keeps of all of its cells out of the other tests."""
    monkeypatch.setattr(CoreCell, "ALL_CELLS", {})
    monkeypatch.setattr(StatsPoolManager, "pools", {})


class Server:
    """What FLARE's server has of one running job of three sites; a fourth site is registered.

    Attributes:
        ended: the ids of the jobs that FLARE was told to end.

    Args:
        starting: whether FLARE still starts the job at the sites, and has not noted that it runs.
    """

    def __init__(
        self, kit: Path, *, min_clients: int, required: Sequence[str] = (), ours: bool = True, starting: bool = False
    ) -> None:
        self.ended = list[str]()
        self.runner = JobRunner(str(kit))
        meta = {} if starting else {JobMetaKey.JOB_CLIENTS: [{"name": name} for name in TAKING_PART]}
        self.job = Job(JOB, {}, {}, meta, min_sites=min_clients, required_sites=list(required))
        if not starting:
            self.runner.running_jobs[JOB] = self.job
        self.runner._pending_client_outcomes[JOB] = set(TAKING_PART)
        self.runner.fail_run = lambda job_id, code, fl_ctx: self.ended.append(job_id)
        self.runner.stop_run = lambda job_id, fl_ctx: self.ended.append(job_id)
        clients = {f"token of {name}": Client(name, f"token of {name}") for name in REGISTERED}
        manager = SimpleNamespace(clients=clients, is_from_authorized_client=clients.__contains__)
        self.cell = CoreCell("server", "tcp://127.0.0.1:1", secure=False, credentials={})
        self.engine = Mock(job_runner=self.runner, new_context=FLContext, exception_run_processes={})
        taking_part = {token: client for token, client in clients.items() if client.name in TAKING_PART}
        self.engine.run_processes = {JOB: {RunProcessKey.PARTICIPANTS: taking_part}}
        self.engine.job_def_manager.get_job.return_value = self.job
        self.server = SimpleNamespace(client_manager=manager, engine=self.engine, logger=Mock())
        self.server._job_reported_clients, self.server._job_reported_clients_lock = {}, threading.Lock()
        self.server._notify_dead_job = lambda *given: FederatedServer._notify_dead_job(self.server, *given)
        self.engine.server, self.engine.get_cell.return_value.core_cell = self.server, self.cell
        self.cell.register_request_cb(
            *REPORT, lambda request: FederatedServer.process_job_failure(self.server, request)
        )
        if ours:
            context = FLContext()
            context.set_prop("__engine__", self.engine, private=True, sticky=False)
            FailedSites(str(kit)).handle_event(EventType.SYSTEM_START, context)

    def report(self, site: str, code: int | None = ProcessExitCode.EXCEPTION, job_id: str = JOB) -> str:
        """Let a site report how its part ended; return the code of the answer."""
        request = new_cell_message({}, {"job_id": job_id, "code": code, "reason": "exception"})
        channel, topic = REPORT
        request.add_headers(
            {
                MessageHeaderKey.CHANNEL: channel,
                MessageHeaderKey.TOPIC: topic,
                MessageHeaderKey.ORIGIN: site,
                CellMessageHeaderKeys.TOKEN: f"token of {site}",
            }
        )
        answer: Any = self.cell._process_request(site, request)
        return str(answer.get_header(MessageHeaderKey.RETURN_CODE))

    def heartbeat(self, site: str) -> None:
        """Let a site's process between jobs say that it runs no job."""
        request = new_cell_message({CellMessageHeaderKeys.JOB_IDS: []}, None)
        FederatedServer._sync_client_jobs(self.server, request, f"token of {site}")

    @property
    def told(self) -> list[tuple[Any, ...]]:
        """Whom the job's process was told to be absent."""
        return [call.args for call in self.engine.notify_dead_job.call_args_list]


def test_flare_alone_ends_a_job_with_the_first_site_that_fails(tmp_path: Path) -> None:
    """Once this fails, FLARE has mended it."""
    server = Server(tmp_path, min_clients=2, ours=False)
    assert server.report("ct-a") == ReturnCode.OK
    assert server.ended == [JOB]


@pytest.mark.parametrize("code", FAILURES)
def test_a_site_that_fails_is_absent_while_the_others_are_enough(tmp_path: Path, code: int) -> None:
    server = Server(tmp_path, min_clients=2)
    assert server.report("ct-a", code) == ReturnCode.OK
    assert server.ended == []
    [(job_id, site, _)] = server.told
    assert (job_id, site) == (JOB, "ct-a")
    # FLARE no longer waits for it when the job ends.
    assert not server.runner.is_client_outcome_pending(JOB, "ct-a")
    [event] = read_log(tmp_path).events
    assert (event.kind, event.participant, event.job_id) == (Kind.SITE_FAILED, "ct-a", JOB)
    # One more is one too many.
    assert server.report("mr-a", code) == ReturnCode.OK
    assert server.ended == [JOB]


@pytest.mark.parametrize("code", FAILURES)
def test_a_site_that_repeats_itself_is_absent_once(tmp_path: Path, code: int) -> None:
    server = Server(tmp_path, min_clients=2)
    for _ in range(5):
        assert server.report("ct-a", code) == ReturnCode.OK
    assert server.ended == []
    assert len(server.told) == len(read_log(tmp_path).events) == 1


@pytest.mark.parametrize("code", FAILURES)
def test_no_site_ends_a_job_that_it_has_no_part_in(tmp_path: Path, code: int) -> None:
    server = Server(tmp_path, min_clients=3)
    server.report("stranger", code)
    server.report("unknown", code)
    server.report("ct-a", code, job_id="another")
    assert (server.ended, server.told) == ([], [])


def test_a_site_that_the_job_needs_ends_it(tmp_path: Path) -> None:
    server = Server(tmp_path, min_clients=1, required=["ct-a"])
    server.report("ct-a")
    assert server.ended == [JOB]


def test_a_site_that_has_finished_is_not_absent(tmp_path: Path) -> None:
    server = Server(tmp_path, min_clients=3)
    assert server.report("ct-a", None) == ReturnCode.OK
    assert (server.ended, server.told) == ([], [])
    assert not server.runner.is_client_outcome_pending(JOB, "ct-a")


@pytest.mark.parametrize("code", FAILURES)
def test_a_site_that_fails_while_others_are_still_started_is_absent(tmp_path: Path, code: int) -> None:
    """FLARE waits 20 s for a site that does not answer, and takes reports meanwhile."""
    server = Server(tmp_path, min_clients=2, starting=True)
    assert server.report("ct-a", code) == ReturnCode.OK
    assert server.ended == []
    assert [site for _, site, _ in server.told] == ["ct-a"]
    server.report("mr-a", code)
    assert server.ended == [JOB]


def test_the_job_hears_of_an_absent_site_until_it_listens(tmp_path: Path) -> None:
    """Its process at the server may start later than a site's fails, and FLARE tells it a failure once."""
    server = Server(tmp_path, min_clients=2)
    server.heartbeat("ct-a")
    assert server.told == [], "FLARE alone would do it"
    server.report("ct-a")
    for _ in range(3):
        server.heartbeat("ct-a")
        server.heartbeat("mr-a")
    assert [site for _, site, _ in server.told] == ["ct-a"] * 4

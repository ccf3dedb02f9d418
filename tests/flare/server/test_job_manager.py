"""Deleting and aborting a job while FLARE's server starts it, on FLARE's own job store."""

from pathlib import Path

import pytest
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_def import RunStatus

from fedgin.flare.server.job_manager import JobInHandError, JobManager
from tests.flare.runs import serve_jobs

JOB = "0f7a2a3c-2f5e-4a54-9d5c-6a3d3b0f9a11"
Server = tuple[JobManager, FLContext]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """Return a server with one submitted job."""
    manager, context = JobManager(uri_root=str(tmp_path / "jobs")), FLContext()
    _, store = serve_jobs(context, manager)
    meta = {"job_id": JOB, "status": RunStatus.SUBMITTED.value, "submit_time": 0.0, "deploy_map": {"app": ["@ALL"]}}
    store.create_object(manager.job_uri(JOB), b"", meta)
    return manager, context


def status(server: Server) -> str:
    manager, context = server
    found: str = manager.get_job(JOB, context).meta["status"]
    return found


def test_a_job_in_hand_is_not_deleted_until_the_server_has_let_it_go(server: Server) -> None:
    manager, context = server
    assert [job.job_id for job in manager.get_jobs_to_schedule(context)] == [JOB]
    manager.set_status(JOB, RunStatus.FINISHED_ABORTED, context)
    with pytest.raises(JobInHandError, match="abort_job, then delete_job"):
        manager.delete(JOB, context)
    assert status(server) == "FINISHED:ABORTED"
    assert manager.get_jobs_to_schedule(context) == []
    manager.delete(JOB, context)
    assert manager.get_job(JOB, context) is None


def test_a_job_that_the_server_never_looked_at_is_deleted(server: Server) -> None:
    manager, context = server
    manager.delete(JOB, context)
    assert manager.get_job(JOB, context) is None


@pytest.mark.parametrize("start", [RunStatus.DISPATCHED, RunStatus.RUNNING])
def test_a_job_aborted_while_it_is_started_does_not_run_and_stays_aborted(server: Server, start: RunStatus) -> None:
    manager, context = server
    manager.set_status(JOB, RunStatus.FINISHED_ABORTED, context)
    with pytest.raises(JobInHandError, match="was ended while it was being started"):
        manager.set_status(JOB, start, context)
    # What FLARE's runner does after any exception.
    manager.set_status(JOB, RunStatus.FAILED_TO_RUN, context)
    assert status(server) == "FINISHED:ABORTED"


@pytest.mark.parametrize(
    "path",
    [
        [RunStatus.DISPATCHED, RunStatus.RUNNING, RunStatus.FINISHED_COMPLETED],
        [RunStatus.DISPATCHED, RunStatus.FAILED_TO_RUN],
        [RunStatus.DISPATCHED, RunStatus.RUNNING, RunStatus.FINISHED_ABNORMAL],
    ],
)
def test_an_undisturbed_job_goes_its_way(server: Server, path: list[RunStatus]) -> None:
    manager, context = server
    for step in path:
        manager.set_status(JOB, step, context)
        assert status(server) == step.value

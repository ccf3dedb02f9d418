"""What FLARE's server stores, and deleting and aborting a job while it is started; on FLARE's own job store."""

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_def import RunStatus

from fedgin.errors import ConfigError
from fedgin.flare.audit.security_log import Kind, read_log
from fedgin.flare.server.job_manager import JobInHandError, JobManager
from tests.flare.jobs.archives import archive_of
from tests.flare.jobs.test_meta import EXTRA
from tests.flare.runs import serve_jobs
from tests.places import JOBS

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


@pytest.fixture
def door(tmp_path: Path) -> Server:
    """Return a server without jobs."""
    manager, context = JobManager(uri_root=str(tmp_path / "jobs"), kit=str(tmp_path)), FLContext()
    serve_jobs(context, manager)
    return manager, context


def submitted(**changes: object) -> dict[str, Any]:
    """Return what FLARE makes of the meta.json of a job that a lead submits."""
    submitter = {"submitter_name": "lead@example.org", "submitter_org": "office", "submitter_role": "lead"}
    meta = json.loads((JOBS / "abdomen_fedgin" / "meta.json").read_text())
    return {**meta, **submitter, "study": "default", "job_folder_name": "abdomen_fedgin", **changes}


def test_a_job_of_ours_is_stored_cloned_and_deployed(door: Server) -> None:
    manager, context = door
    meta = manager.create(submitted(), archive_of(JOBS / "abdomen_fedgin"), context)
    again = manager.clone(meta["job_id"], submitted(cloned_from=meta["job_id"], data_storage_format=2), context)
    for one in (meta, again):
        job = manager.get_job(one["job_id"], context)
        with zipfile.ZipFile(io.BytesIO(manager.get_app(job, "app", context))) as application:
            assert "config/experiment.yaml" in application.namelist()
    assert not read_log(manager.kit).events


@pytest.mark.parametrize("extra", ["data.pkl", "app/custom/evil.py", "app/config/model.pt"])
def test_nothing_of_another_archive_is_stored_but_whose_it_was_and_why(
    door: Server, tmp_path: Path, extra: str
) -> None:
    manager, context = door
    folder = Path(shutil.copytree(JOBS / "abdomen_fedgin", tmp_path / "abdomen_fedgin"))
    (folder / extra).parent.mkdir(exist_ok=True)
    (folder / extra).write_bytes(b"\x80\x02.")
    made = manager.create(submitted(), archive_of(folder), context)
    is_refused(door, made["job_id"], "the job carries 'abdomen_fedgin/")


@pytest.mark.parametrize("extra", EXTRA[:6], ids=str)
def test_nothing_of_another_record_is_stored(door: Server, extra: dict[str, object]) -> None:
    manager, context = door
    made = manager.create(submitted(**extra), archive_of(JOBS / "abdomen_fedgin"), context)
    is_refused(door, made["job_id"], "meta.json: ")
    assert not extra.items() <= manager.get_job(made["job_id"], context).meta.items()


def is_refused(server: Server, job_id: str, reason: str) -> None:
    """See that a job ended before it began, and that the lead and the security log have the reason."""
    manager, context = server
    assert manager.get_jobs_to_schedule(context) == []
    job = manager.get_job(job_id, context)
    assert (job.meta["status"], job.meta["submitter_name"]) == ("FINISHED:FAILED_TO_RUN", "lead@example.org")
    assert job.meta["job_deploy_detail"][0].startswith(f"server: {reason}")
    assert zipfile.ZipFile(io.BytesIO(manager.get_content(job.meta, context))).namelist() == []
    [event] = read_log(manager.kit).events
    assert (event.kind, event.person, event.organisation) == (Kind.JOB_REFUSED, "lead@example.org", "office")
    assert event.reason.startswith(reason)


def test_a_stored_job_that_was_changed_goes_to_nobody_and_who_follows_it_is_told(door: Server, tmp_path: Path) -> None:
    manager, context = door
    meta = manager.create(submitted(), archive_of(JOBS / "abdomen_fedgin"), context)
    folder = Path(shutil.copytree(JOBS / "abdomen_fedgin", tmp_path / "abdomen_fedgin"))
    (folder / "version").write_text("3")
    (tmp_path / "jobs" / meta["job_id"] / "data").write_bytes(archive_of(folder))
    job, said = manager.get_job(meta["job_id"], context), list[str]()
    context.set_prop(FLContextKey.JOB_DEPLOY_DETAIL, said)
    with pytest.raises(ConfigError, match="the job carries 'abdomen_fedgin/version'"):
        manager.get_app(job, "app", context)
    assert said[0].startswith("server: the job carries 'abdomen_fedgin/version'")
    with pytest.raises(ConfigError, match="the job carries"):
        manager.clone(meta["job_id"], submitted(), context)
    assert [event.kind for event in read_log(manager.kit).events] == [Kind.JOB_REFUSED] * 2

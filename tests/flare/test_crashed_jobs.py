import zipfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.job_def_manager import SimpleJobDefManager
from nvflare.apis.job_def import RunStatus
from nvflare.apis.server_engine_spec import ServerEngineSpec
from nvflare.apis.workspace import Workspace
from nvflare.app_common.storages.filesystem_storage import FilesystemStorage

from fedgin.flare.crashed_jobs import CrashedJobs
from tests.flare.runs import lay_out, make_context
from tests.sites import tiny_experiment

JOBS = {
    "running": RunStatus.RUNNING,
    "deployed": RunStatus.DISPATCHED,
    "waiting": RunStatus.SUBMITTED,
    "done": RunStatus.FINISHED_COMPLETED,
}


def restart(root: Path) -> tuple[SimpleJobDefManager, FLContext, Workspace]:
    """Start a server, on FLARE's own job store, whose store has a job of each status."""
    workspace = lay_out(root / "kit", "server", tiny_experiment())
    context = make_context(workspace, "server")
    manager, store = SimpleJobDefManager(uri_root=str(root / "jobs")), FilesystemStorage()
    components = {"job_manager": manager, "job_store": store}
    engine = create_autospec(ServerEngineSpec, instance=True)
    engine.get_component = components.get
    engine.get_workspace = lambda: workspace
    context.set_prop(ReservedKey.ENGINE, engine, private=True, sticky=False)
    for job, status in JOBS.items():
        store.create_object(manager.job_uri(job), b"", {"job_id": job, "status": status.value})
    run = Path(workspace.get_run_dir("running"))
    run.mkdir()
    (run / "kept").write_text("after round 3")
    CrashedJobs().handle_event(EventType.SYSTEM_BOOTSTRAP, context)
    return manager, context, workspace


def test_jobs_of_a_crashed_server_are_ended_and_the_others_are_not(tmp_path: Path) -> None:
    manager, context, _ = restart(tmp_path)
    found = {job: manager.get_job(job, context).meta["status"] for job in JOBS}
    ended = RunStatus.FINISHED_ABNORMAL.value
    assert found == {job: ended if job in ("running", "deployed") else JOBS[job].value for job in JOBS}


def test_what_a_crashed_job_left_can_be_downloaded(tmp_path: Path) -> None:
    manager, context, workspace = restart(tmp_path)
    manager.get_storage_for_download("running", str(tmp_path / "got"), "workspace", "workspace.zip", context)
    with zipfile.ZipFile(tmp_path / "got" / "running" / "workspace.zip") as archive:
        assert archive.read("kept") == b"after round 3"
    assert not Path(workspace.get_run_dir("running")).exists()


def test_no_other_event_touches_a_job() -> None:
    CrashedJobs().handle_event(EventType.SYSTEM_START, SimpleNamespace())

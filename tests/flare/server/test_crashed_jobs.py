import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.job_def_manager import SimpleJobDefManager
from nvflare.apis.job_def import RunStatus
from nvflare.apis.storage import StorageException
from nvflare.apis.workspace import Workspace

from fedgin.flare.server.crashed_jobs import CrashedJobs
from tests.flare.runs import lay_out, make_context, serve_jobs
from tests.sites import tiny_experiment

JOBS = {
    "running": RunStatus.RUNNING,
    "deployed": RunStatus.DISPATCHED,
    "waiting": RunStatus.SUBMITTED,
    "done": RunStatus.FINISHED_COMPLETED,
}


def restart(root: Path, *, start: bool = True) -> tuple[SimpleJobDefManager, FLContext, Workspace]:
    """Start a server, on FLARE's own job store, whose store has a job of each status."""
    workspace = lay_out(root / "kit", "server", tiny_experiment())
    context = make_context(workspace, "server")
    manager = SimpleJobDefManager(uri_root=str(root / "jobs"))
    engine, store = serve_jobs(context, manager)
    engine.get_workspace = lambda: workspace
    for job, status in JOBS.items():
        store.create_object(manager.job_uri(job), b"", {"job_id": job, "status": status.value})
    for job in ("running", "deployed"):
        run = Path(workspace.get_run_dir(job))
        run.mkdir()
        (run / "kept").write_text("after round 3")
    if start:
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


def test_a_kill_while_a_stored_folder_is_removed_leaves_the_stored_run_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager, context, workspace = restart(tmp_path, start=False)
    run = Path(workspace.get_run_dir("running"))
    (run / "metrics").write_text("of round 3")
    remove = shutil.rmtree

    def kill(folder: Path, **options: Any) -> None:
        if (folder / "kept").exists():
            (folder / "kept").unlink()
            raise KeyboardInterrupt
        remove(folder, **options)

    with monkeypatch.context() as patch:
        patch.setattr("fedgin.flare.server.crashed_jobs.shutil.rmtree", kill)
        with pytest.raises(KeyboardInterrupt):
            CrashedJobs().handle_event(EventType.SYSTEM_BOOTSTRAP, context)
    for _ in range(2):
        CrashedJobs().handle_event(EventType.SYSTEM_BOOTSTRAP, context)
    for job, files in {"running": {"kept", "metrics"}, "deployed": {"kept"}}.items():
        assert manager.get_job(job, context).meta["status"] == RunStatus.FINISHED_ABNORMAL.value
        manager.get_storage_for_download(job, str(tmp_path / "got"), "workspace", "workspace.zip", context)
        with zipfile.ZipFile(tmp_path / "got" / job / "workspace.zip") as archive:
            assert files == set(archive.namelist())
    assert not [path.name for path in run.parent.iterdir() if path.name.startswith(("running", "deployed"))]


@pytest.mark.parametrize("broken", ["running", "deployed"])
def test_a_job_that_cannot_be_stored_is_ended_all_the_same_and_stored_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    manager, context, workspace = restart(tmp_path, start=False)
    save = manager.save_workspace

    def fill_disk(job: str, *rest: Any) -> Any:
        if job == broken:
            raise StorageException("failed to write content: No space left on device")
        return save(job, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(manager, "save_workspace", fill_disk)
        CrashedJobs().handle_event(EventType.SYSTEM_BOOTSTRAP, context)
    for job in ("running", "deployed"):
        assert manager.get_job(job, context).meta["status"] == RunStatus.FINISHED_ABNORMAL.value
        assert Path(workspace.get_run_dir(job)).exists() == (job == broken)
    CrashedJobs().handle_event(EventType.SYSTEM_BOOTSTRAP, context)
    assert not Path(workspace.get_run_dir(broken)).exists()
    manager.get_storage_for_download(broken, str(tmp_path / "got"), "workspace", "workspace.zip", context)
    assert zipfile.is_zipfile(tmp_path / "got" / broken / "workspace.zip")


def test_a_job_whose_status_cannot_be_written_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager, context, _ = restart(tmp_path, start=False)
    first, ended = manager.get_jobs_by_status([RunStatus.RUNNING, RunStatus.DISPATCHED], context)[0].job_id, []

    def set_status(job: str, status: RunStatus, _: FLContext) -> None:
        if job == first:
            raise StorageException("failed to write content: No space left on device")
        ended.append((job, status))

    monkeypatch.setattr(manager, "set_status", set_status)
    CrashedJobs().handle_event(EventType.SYSTEM_BOOTSTRAP, context)
    [other] = {"running", "deployed"} - {first}
    assert ended == [(other, RunStatus.FINISHED_ABNORMAL)]


def test_no_other_event_touches_a_job() -> None:
    CrashedJobs().handle_event(EventType.SYSTEM_START, SimpleNamespace())

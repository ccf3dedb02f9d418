"""A server that was killed comes back with jobs that seem to run: say that they ended, and keep what they left."""

import shutil
from pathlib import Path

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_def import RunStatus
from nvflare.apis.server_engine_spec import ServerEngineSpec
from nvflare.apis.workspace import Workspace

JOB_MANAGER = "job_manager"


class CrashedJobs(FLComponent):
    """At the start of the server, ends every job of an earlier process and stores its run folder, as FLARE does at the
    end of a job. Then it can be downloaded, deleted and resumed.

    Stock FLARE 2.9 leaves such a job RUNNING for ever, and refuses to abort, download or delete it. Its processes are
    gone by now: they end with their parent. Part of the server kit's ``resources.json``.
    """

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Look once, before the server takes up any new job."""
        if event_type == EventType.SYSTEM_BOOTSTRAP:
            engine: ServerEngineSpec = fl_ctx.get_engine()
            manager = engine.get_component(JOB_MANAGER)
            for job in manager.get_jobs_by_status([RunStatus.RUNNING, RunStatus.DISPATCHED], fl_ctx):
                self._end(job.job_id, manager, fl_ctx)

    def _end(self, job: str, manager: FLComponent, fl_ctx: FLContext) -> None:
        workspace: Workspace = fl_ctx.get_workspace()
        run = Path(workspace.get_run_dir(job))
        if run.is_dir():
            manager.save_workspace(job, [str(run)], fl_ctx)
            shutil.rmtree(run, ignore_errors=True)
        manager.set_status(job, RunStatus.FINISHED_ABNORMAL, fl_ctx)
        self.log_warning(fl_ctx, f"job {job} ended with the server's crash. Fix: fedgin resume {job} --kit KIT")

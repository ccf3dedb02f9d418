"""A server that was killed comes back with jobs that seem to run: say that they ended, and keep what they left."""

import contextlib
import shutil
from pathlib import Path

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_def import RunStatus
from nvflare.apis.server_engine_spec import ServerEngineSpec
from nvflare.apis.workspace import Workspace

from fedgin.errors import with_fix

JOB_MANAGER = "job_manager"


class CrashedJobs(FLComponent):
    """At the start of the server, ends every job of an earlier process and stores its run folder, as FLARE does at the
    end of a job. Then it can be downloaded, deleted and resumed.

    Stock FLARE 2.9 leaves such a job RUNNING for ever, and refuses to abort, download or delete it. Its processes are
    gone by now: they end with their parent. Part of the server kit's ``resources.json``.

    A run folder that cannot be stored, as on a full disk, stays where it is and is tried again at the next start.
    """

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Look once, before the server takes up any new job."""
        if event_type == EventType.SYSTEM_BOOTSTRAP:
            engine: ServerEngineSpec = fl_ctx.get_engine()
            manager = engine.get_component(JOB_MANAGER)
            for job in manager.get_jobs_by_status([RunStatus.FINISHED_ABNORMAL], fl_ctx):
                self._store(job.job_id, manager, fl_ctx)
            for job in manager.get_jobs_by_status([RunStatus.RUNNING, RunStatus.DISPATCHED], fl_ctx):
                self._end(job.job_id, manager, fl_ctx)

    def _end(self, job: str, manager: FLComponent, fl_ctx: FLContext) -> None:
        stored = self._store(job, manager, fl_ctx)
        try:
            manager.set_status(job, RunStatus.FINISHED_ABNORMAL, fl_ctx)
        except Exception as error:  # the other jobs are to be ended all the same
            problem = f"job {job} could not be ended: {error}"
            self.log_error(fl_ctx, with_fix(problem, "free disk space, restart the server"))
        else:
            said = f"job {job} ended with the server's crash."
            self.log_warning(fl_ctx, with_fix(said, f"fedgin resume {job} --kit KIT") if stored else said)

    def _store(self, job: str, manager: FLComponent, fl_ctx: FLContext) -> bool:
        workspace: Workspace = fl_ctx.get_workspace()
        run = Path(workspace.get_run_dir(job))
        stored = run.with_name(f"{run.name}.stored")
        shutil.rmtree(stored, ignore_errors=True)
        if not run.is_dir():
            return True
        try:
            manager.save_workspace(job, [str(run)], fl_ctx)
        except Exception as error:  # a full disk, or whatever else a job store may raise
            problem = f"job {job}: {run.name} could not be stored: {error}"
            self.log_error(fl_ctx, with_fix(problem, "free disk space, restart the server"))
            return False
        with contextlib.suppress(OSError):  # a whole folder that stays is stored once more at the next start
            run.rename(stored)
        # Under its own name, what a kill in here leaves would replace the stored run at the next start.
        shutil.rmtree(stored, ignore_errors=True)
        return True

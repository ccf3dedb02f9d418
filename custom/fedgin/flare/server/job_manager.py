"""Deleting or aborting a job in the seconds in which the server starts it: FLARE's job manager without those races."""

import threading
from collections.abc import Mapping
from typing import Any

from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.job_def_manager import SimpleJobDefManager
from nvflare.apis.job_def import Job, JobMetaKey, RunStatus

from fedgin.errors import FedginError

STARTS = (RunStatus.DISPATCHED, RunStatus.RUNNING)


def has_ended(meta: Mapping[str, Any]) -> bool:
    """Tell by FLARE's record of a job whether it ended, well or not."""
    return str(meta.get(JobMetaKey.STATUS.value)).startswith("FINISHED:")


class JobInHandError(FedginError):
    """A job waits or is being started, which forbids what somebody asked for."""

    code = "FG-053"


class JobManager(SimpleJobDefManager):
    """FLARE's job manager, in which a job that is being started cannot be deleted, and one that ended stays so.

    Stock FLARE 2.9 deletes a job while it sends it to the sites. Its thread that starts jobs then ends with an
    exception, and the server, which goes on answering, never starts a job again. A job that is aborted in these seconds
    is "aborted before running it" and runs all the same.

    Part of the server kit's ``resources.json``, with FLARE's arguments.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lock = threading.Lock()
        self._candidates: set[str] = set()

    def get_jobs_to_schedule(self, fl_ctx: FLContext) -> list[Job]:
        """Return the jobs that wait; the thread that starts jobs asks every second, unless it is starting one."""
        with self._lock:
            jobs: list[Job] = super().get_jobs_to_schedule(fl_ctx)
            self._candidates = {job.job_id for job in jobs}
            return jobs

    def delete(self, jid: str, fl_ctx: FLContext) -> None:
        """Delete a job.

        Raises:
            JobInHandError: it waits, or the server is starting it; the text goes to the person at the console.
        """
        with self._lock:
            if jid in self._candidates:
                raise JobInHandError(f"job {jid} waits or is being started", "abort_job, then delete_job in a minute")
            super().delete(jid, fl_ctx)

    def set_status(self, jid: str, status: RunStatus, fl_ctx: FLContext) -> None:
        """Set a job's status.

        Raises:
            JobInHandError: it was ended and is now to be started. FLARE takes back what it has started of it.
        """
        with self._lock:
            job = self.get_job(jid, fl_ctx)
            ended = job is not None and has_ended(job.meta)
            if ended and status in STARTS:
                raise JobInHandError(f"job {jid} was ended while it was being started", "submit it again")
            if ended and status == RunStatus.FAILED_TO_RUN:
                return
            super().set_status(jid, status, fl_ctx)

"""FLARE's job manager, which takes jobs of this package alone, without two races in the seconds of a job's start."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.job_def_manager import SimpleJobDefManager
from nvflare.apis.job_def import Job, JobMetaKey, RunStatus

from fedgin.errors import FedginError
from fedgin.flare.audit.security_events import job_facts
from fedgin.flare.audit.security_log import Kind, record
from fedgin.flare.jobs.archive import check_archive
from fedgin.flare.jobs.meta import check_record, make_meta

# What is kept of a job that is refused, and an archive without entries.
SUBMITTED = [
    key.value
    for key in (
        JobMetaKey.SUBMITTER_NAME,
        JobMetaKey.SUBMITTER_ORG,
        JobMetaKey.SUBMITTER_ROLE,
        JobMetaKey.STUDY,
        JobMetaKey.JOB_FOLDER_NAME,
    )
]
EMPTY = b"PK\5\6" + bytes(18)
STARTS = (RunStatus.DISPATCHED, RunStatus.RUNNING)


def has_ended(meta: Mapping[str, Any]) -> bool:
    """Tell by FLARE's record of a job whether it ended, well or not."""
    return str(meta.get(JobMetaKey.STATUS.value)).startswith("FINISHED:")


class JobInHandError(FedginError):
    """A job waits or is being started, which forbids what somebody asked for."""

    code = "FG-053"


class JobManager(SimpleJobDefManager):
    """FLARE's job manager with a door: of a job that is not exactly one of this package nothing is stored or deployed.

    Stock FLARE stores whatever archive it gets and unpacks it at deployment. Here the archive and FLARE's own record of
    the job are checked before they are stored, and again whenever the server takes them out of its store. A refused job
    is stored as an empty one that has failed, because FLARE tells a console no reason for anything else. Who was
    refused, and why, is in the security log.

    Stock FLARE 2.9 deletes a job while it sends it to the sites. Its thread that starts jobs then ends with an
    exception, and the server, which goes on answering, never starts a job again. A job that is aborted in these seconds
    is "aborted before running it" and runs all the same.

    Part of the server kit's ``resources.json``, with FLARE's arguments.

    Args:
        args: FLARE's.
        kit: see :class:`~fedgin.flare.jobs.job_validator.JobValidator`.
        kwargs: FLARE's.
    """

    def __init__(self, *args: Any, kit: str = ".", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kit = Path(kit).resolve()
        self._lock = threading.Lock()
        self._candidates: set[str] = set()

    def create(self, meta: dict[str, Any], uploaded_content: str | bytes, fl_ctx: FLContext) -> dict[str, Any]:
        """Store a job that was submitted; one that is refused ends at once, with the reason for who follows it."""
        try:
            self._check(meta, uploaded_content)
        except FedginError as error:
            return self._store_refused(meta, f"server: {error}", fl_ctx)
        return dict(super().create(meta, uploaded_content, fl_ctx))

    def _store_refused(self, meta: Mapping[str, Any], reason: str, fl_ctx: FLContext) -> dict[str, Any]:
        """Keep that a job was submitted, and by whom; nothing else that it says."""
        kept = {key: str(meta.get(key, "")) for key in SUBMITTED}
        with self._lock:  # or it would be started
            made = dict(super().create(make_meta("refused", 1, ()) | kept, EMPTY, fl_ctx))
            job_id = made[JobMetaKey.JOB_ID.value]
            self.update_meta(job_id, {JobMetaKey.JOB_DEPLOY_DETAIL.value: [reason]}, fl_ctx)
            super().set_status(job_id, RunStatus.FAILED_TO_RUN, fl_ctx)
        return made

    def clone(self, from_jid: str, meta: dict[str, Any], fl_ctx: FLContext) -> dict[str, Any]:
        """Store a job again.

        Raises:
            FedginError: it is no job of this package.
        """
        earlier = self.get_job(from_jid, fl_ctx)
        self._check(meta, b"" if earlier is None else self.get_content(earlier.meta, fl_ctx) or b"")
        return dict(super().clone(from_jid, meta, fl_ctx))

    def get_app(self, job: Job, app_name: str, fl_ctx: FLContext) -> bytes:
        """Return the application of a stored job, which goes to every participant now.

        Raises:
            FedginError: what is stored is no job of this package; the text goes to who follows the job.
        """
        try:
            self._check(job.meta, self.get_content(job.meta, fl_ctx) or b"")
        except FedginError as error:
            fl_ctx.get_prop(FLContextKey.JOB_DEPLOY_DETAIL, []).append(f"server: {error}")
            raise
        return bytes(super().get_app(job, app_name, fl_ctx))

    def _check(self, meta: Mapping[str, Any], content: str | bytes) -> None:
        try:
            check_archive(content, str(meta.get(JobMetaKey.JOB_FOLDER_NAME.value)))
            check_record(meta)
        except FedginError as error:
            record(self.kit, Kind.JOB_REFUSED, **job_facts(meta), reason=str(error))
            raise

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

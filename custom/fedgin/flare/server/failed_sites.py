"""A site whose part of a job failed counts as absent, as long as the others are enough for the job."""

import threading
from pathlib import Path
from typing import Any

from nvflare.apis.client import Client, ClientDictKey
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import RunProcessKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_def import Job, JobMetaKey
from nvflare.fuel.f3.cellnet.defs import ReturnCode
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.private.defs import CellChannel, CellChannelTopic, CellMessageHeaderKeys, JobFailureMsgKey
from nvflare.private.fed.client.client_executor import REPORTABLE_JOB_FAILURES

from fedgin.flare.audit.security_log import Kind, record_or_tell

REPORT = (CellChannel.SERVER_MAIN, CellChannelTopic.REPORT_JOB_FAILURE)


class FailedSites(FLComponent):
    """Part of the server kit's ``resources.json``.

    When FLARE's process of a job ends at a site, the site reports how. Stock FLARE 2.9 ends the whole job with the
    first report of a failure, whatever ``min_clients`` says: one crash, or one hostile site, costs all sites their
    work. Here a report takes the site itself out of the job, and FLARE ends the job when fewer than ``min_clients``
    are left.

    FLARE itself holds a report against the sender's token, and drops it where the sender has no part in the job.

    Args:
        kit: see :class:`~fedgin.flare.jobs.job_validator.JobValidator`.
    """

    def __init__(self, kit: str = ".") -> None:
        super().__init__()
        self.kit = Path(kit).resolve()
        self._lock = threading.Lock()
        self._absent: dict[str, set[str]] = {}

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Read the reports once FLARE is connected."""
        if event_type == EventType.SYSTEM_START:
            engine: Any = fl_ctx.get_engine()
            engine.get_cell().core_cell.add_incoming_request_filter(*REPORT, self._read_report, engine)

    def _read_report(self, message: Any, engine: Any) -> Any:
        """Return the answer to a report that is dealt with here, or nothing: then FLARE does what it always does."""
        report: dict[str, Any] = message.payload if isinstance(message.payload, dict) else {}
        job_id, code = str(report.get(JobFailureMsgKey.JOB_ID)), report.get(JobFailureMsgKey.CODE)
        site = engine.server.client_manager.clients.get(message.get_header(CellMessageHeaderKeys.TOKEN))
        if site is None or code not in REPORTABLE_JOB_FAILURES:
            return None
        if not engine.job_runner.is_client_outcome_pending(job_id, site.name):
            return None
        job = _find_job(engine, job_id)
        if job is None or not self._may_miss(job, _sites(engine, job), site.name):
            return None
        _report_absent(engine, job_id, site, REPORTABLE_JOB_FAILURES[code])
        engine.job_runner.resolve_client_outcome(job_id, site.name)
        self._tell(job_id, site.name, REPORTABLE_JOB_FAILURES[code])
        return make_reply(ReturnCode.OK)

    def _may_miss(self, job: Job, sites: set[str], site: str) -> bool:
        """Note that one of the sites is absent; return whether the job goes on without it."""
        with self._lock:
            absent = self._absent.setdefault(job.job_id, set())
            absent.add(site)
            left = sites - absent
        return not job.run_aborted and site not in job.required_sites and len(left) >= max(1, job.min_sites)

    def _tell(self, job_id: str, site: str, reason: str) -> None:
        self.logger.error(f"site {site} has no part in job {job_id} any more: its process of the job ended ({reason})")
        record_or_tell(self.kit, self.logger.error, Kind.SITE_FAILED, participant=site, job_id=job_id, reason=reason)


def _find_job(engine: Any, job_id: str) -> Job | None:
    """Return a job that runs, or that FLARE still starts at the sites: for 20 s if one of them does not answer."""
    job = engine.job_runner.running_jobs.get(job_id)
    if job is None and job_id in engine.run_processes:
        with engine.new_context() as fl_ctx:
            job = engine.job_def_manager.get_job(job_id, fl_ctx)
    return job


def _sites(engine: Any, job: Job) -> set[str]:
    """Return the names of the sites where a job runs, or is being started."""
    if JobMetaKey.JOB_CLIENTS in job.meta:
        return {client[ClientDictKey.NAME] for client in job.meta[JobMetaKey.JOB_CLIENTS]}
    participants = engine.run_processes.get(job.job_id, {}).get(RunProcessKey.PARTICIPANTS, {})
    return {client.name for client in participants.values()}


def _report_absent(engine: Any, job_id: str, site: Client, reason: str) -> None:
    """Tell the server's process of the job that a site is absent, and let FLARE repeat it.

    That process may not listen yet, and each workflow of the job has to hear of it. FLARE tells it again with every
    heartbeat of a site that does not run the job, once the site did.
    """
    server = engine.server
    with server._job_reported_clients_lock:
        server._job_reported_clients.setdefault(job_id, set()).add(site.token)
    engine.notify_dead_job(job_id, site.name, reason)

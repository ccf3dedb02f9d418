"""FLARE's events that belong into the security log: jobs on offer, refused deployments, refused commands."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import AdminCommandNames, FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_def import JobMetaKey
from nvflare.fuel.sec.authz import AuthorizationService, Authorizer, AuthzContext

from fedgin.flare.audit.certificate import certificate_warning
from fedgin.flare.audit.security_log import Kind, record_or_tell


class SecurityEvents(FLComponent):
    """Record what :class:`~fedgin.flare.jobs.job_validator.JobValidator` cannot see; part of ``local/resources.json``.

    - The job's name and submitter, as the server has them, before a job is unpacked. A signature that does not fit is
      refused by FLARE before any validator is asked; the offer is then all that the site has of it.
    - At the server, what each participant said when it would not take a job.
    - In the log of the process, at its start: a certificate with which nobody would answer.
    - A command that the role does not allow. FLARE writes commands into its ``audit.log`` after that check, so those
      that it refuses appear nowhere.

    Args:
        kit: see :class:`~fedgin.flare.jobs.job_validator.JobValidator`.
    """

    def __init__(self, kit: str = ".") -> None:
        super().__init__()
        self.kit = Path(kit).resolve()
        self._told: set[str] = set()
        # Here, because FLARE fires its first event when it is connected, which it may never be.
        warning = certificate_warning(self.kit / "startup")
        if warning:
            self.logger.error(warning)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Record the event if it is one of ours."""
        if event_type == EventType.SYSTEM_START:
            self._watch_authorisation()
        elif event_type == EventType.DEPLOY_JOB_TO_SERVER:
            job_id = fl_ctx.get_prop(FLContextKey.CURRENT_JOB_ID)
            self._record(Kind.JOB_OFFERED, **job_facts(_meta_at_server(job_id, fl_ctx)))
        elif event_type == EventType.AUTHORIZE_COMMAND_CHECK:
            said = fl_ctx.get_prop(FLContextKey.SECURITY_ITEMS, {})
            if fl_ctx.get_prop(FLContextKey.COMMAND_NAME) == AdminCommandNames.SUBMIT_JOB:
                self._record(Kind.JOB_OFFERED, **job_facts(said.get(FLContextKey.JOB_META) or {}))
        elif event_type == EventType.JOB_DEPLOYED:
            self._record_answers(str(fl_ctx.get_prop(FLContextKey.CURRENT_JOB_ID)), fl_ctx)
        elif event_type == EventType.JOB_ABORTED:
            self._record_answers(fl_ctx.get_prop(FLContextKey.EVENT_DATA)[JobMetaKey.JOB_ID.value], fl_ctx)

    def _record_answers(self, job_id: str, fl_ctx: FLContext) -> None:
        """Record who would not take a job; FLARE keeps the last deployment's answers, so each is told once."""
        if job_id in self._told:
            return
        self._told.add(job_id)
        job = job_facts(_meta_at_server(job_id, fl_ctx))
        for line in fl_ctx.get_prop(FLContextKey.JOB_DEPLOY_DETAIL) or []:
            participant, _, answer = str(line).partition(": ")
            if answer not in ("", "OK"):
                self._record(Kind.DEPLOYMENT_REFUSED, **job, participant=participant, reason=answer)

    def _watch_authorisation(self) -> None:
        """Put a recorder before FLARE's authoriser, which has no event for what it refuses."""
        stock = AuthorizationService.get_authorizer()
        if isinstance(stock, Authorizer) and not isinstance(stock, _RecordingAuthorizer):
            AuthorizationService.the_authorizer = _RecordingAuthorizer(stock, self._record)

    def _record(self, kind: Kind, **facts: str) -> None:
        # The decision is FLARE's and stands; a job that cannot be recorded is refused by the validator.
        record_or_tell(self.kit, self.logger.error, kind, **facts)


class _RecordingAuthorizer(Authorizer):
    """Decides as the stock one does."""

    def __init__(self, stock: Authorizer, record: Callable[..., None]) -> None:
        super().__init__(stock.site_org, stock.right_categories)
        self.stock = stock
        self.record = record

    def authorize(self, ctx: AuthzContext) -> tuple[bool, str]:
        authorized, error = self.stock.authorize(ctx)
        if not authorized:
            who = {"person": ctx.user.name, "organisation": ctx.user.org, "role": ctx.user.role}
            self.record(Kind.COMMAND_REFUSED, **who, command=str(ctx.right), reason=error)
        return authorized, error


def _meta_at_server(job_id: str, fl_ctx: FLContext) -> Mapping[str, Any]:
    job = fl_ctx.get_engine().job_def_manager.get_job(job_id, fl_ctx)
    return {JobMetaKey.JOB_ID.value: job_id} if job is None else dict(job.meta)


def job_facts(meta: Mapping[str, Any]) -> dict[str, str]:
    """Say which job an event is about, and whose, by FLARE's record: the server takes it from the certificate."""
    keys = {
        "job_id": JobMetaKey.JOB_ID,
        "job": JobMetaKey.JOB_NAME,
        "person": JobMetaKey.SUBMITTER_NAME,
        "organisation": JobMetaKey.SUBMITTER_ORG,
        "role": JobMetaKey.SUBMITTER_ROLE,
    }
    return {fact: str(meta.get(key.value, "")) for fact, key in keys.items()}

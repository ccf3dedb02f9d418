"""Unpack a job at a site, unless the server's record of it asks for more than a job of this package."""

from pathlib import Path
from typing import Any

from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from nvflare.private.fed.utils.app_deployer import AppDeployer

from fedgin.errors import FedginError
from fedgin.flare.audit.security_events import job_facts
from fedgin.flare.audit.security_log import Kind, record
from fedgin.flare.jobs.meta import check_record


class JobDeployer(AppDeployer):
    """FLARE's deployer, part of a site's ``local/resources.json``, which looks at the record before it unpacks a job.

    The record chooses what FLARE does with a job beside its configuration: the launcher, resources, privacy scope and
    study. It is the server's word, not part of what the lead has signed; the application, which is, goes on to
    :class:`~fedgin.flare.jobs.job_validator.JobValidator`.

    Args:
        kit: see :class:`~fedgin.flare.jobs.job_validator.JobValidator`.
    """

    def __init__(self, kit: str = ".") -> None:
        super().__init__()
        self.kit = Path(kit).resolve()

    def deploy(
        self,
        workspace: Workspace,
        job_id: str,
        job_meta: dict[str, Any],
        app_name: str,
        app_data: bytes,
        fl_ctx: FLContext,
    ) -> str:
        """Return why the job is refused, or an empty text; the text goes to the project lead."""
        try:
            check_record(job_meta)
        except FedginError as error:
            record(self.kit, Kind.JOB_REFUSED, **job_facts(job_meta), reason=str(error))
            return str(error)
        return str(super().deploy(workspace, job_id, job_meta, app_name, app_data, fl_ctx) or "")

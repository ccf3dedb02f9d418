"""How a job ended: from its result folder alone, whether it may be called a success, and what to do if not."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nvflare.apis.job_def import ALL_SITES, SERVER_SITE_NAME, JobMetaKey, RunStatus
from pydantic import BaseModel, Field, ValidationError

from fedgin.errors import DataError, FedginError, one_line
from fedgin.flare.jobs.application import check_checkpoint
from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_modalities
from fedgin.flare.jobs.files import CONFIG
from fedgin.flare.jobs.job import Job, read_finished_job
from fedgin.flare.run.console import ConsoleError, job_status
from fedgin.flare.run.results import JOB, RunResult, first_errors

# In a result's folder, beside the server's run folder and the job: FLARE's record of the job, and our page.
RECORD, REPORT = "job_record.json", "report.html"
# Beside the page of a job that evaluated a model: the means of all sites, and the cases of those that show them.
SITE_SCORES, CASE_SCORES = "site_scores.csv", "case_scores.csv"


class _Record(BaseModel):
    """What is taken from FLARE's record of a job; the file in a result's folder may hold anything."""

    deploy_map: dict[str, list[str]] = Field(default={})
    min_clients: int
    job_deploy_detail: list[Any] | None = None


@dataclass(frozen=True)
class Outcome:
    """A job that ended.

    Attributes:
        job: :func:`as_submitted`.
        job_id: FLARE's.
        result: what the server kept.
        fault: what keeps it from being a success; empty for a success.
        causes: lines that the server kept about it.
    """

    job: Job
    job_id: str
    result: RunResult
    fault: str
    causes: tuple[str, ...]

    def check(self) -> None:
        """Refuse to call it a success when it is none.

        Raises:
            ConsoleError: names the fault, what to do, and the first causes that are known.
        """
        if not self.fault:
            return
        where = f"what the server kept is in {self.result.folder}"
        if self.causes:
            fix = "\n  ".join((f"mend the first cause below; {where}", *self.causes))
        elif self.job.evaluated:
            fix = f"look into the logs of server and sites, then run it again; {where}"
        elif RunStatus.FINISHED_ABORTED.value in self.fault:
            fix = f"go on with it: fedgin resume {self.job_id} --kit KIT; {where}"
        else:
            fix = f"the server noted no cause: look into the logs of server and sites; {where}"
        raise ConsoleError(f"job {self.job.name}: {self.fault}", fix)


def read_outcome(result: RunResult) -> Outcome:
    """Judge a result by what is in its folder; FLARE's status alone is not trusted.

    Raises:
        DataError: the folder is no result, or something in it is not as it was written.
        ConfigError: the job in it is none of this package's.
    """
    folder = result.folder
    try:
        meta = dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))
        [submitted] = (folder / JOB).iterdir()
    except (OSError, ValueError, TypeError, RecursionError):
        raise DataError(
            f"{folder} is no result of a job", "give a folder that 'fedgin run' or 'fedgin fetch' left"
        ) from None
    job = as_submitted(read_finished_job(submitted), meta, result)
    status = job_status(meta)
    fault = f"it ended as {status}" if status != RunStatus.FINISHED_COMPLETED.value else result.fault(job, job.sites)
    said = [one_line(str(line)) for line in _read_record(meta, job).job_deploy_detail or []]
    causes = (*(line for line in said if not line.endswith(": OK")), *first_errors(folder / "error_log.txt"))
    if damage := _find_damage(job):
        fault = f"{fault}; {damage.problem}" if fault else damage.problem
        causes = (*causes, str(damage))
    return Outcome(job, one_line(str(meta.get(JobMetaKey.JOB_ID.value))), result, fault, causes)


def _find_damage(job: Job) -> FedginError | None:
    """Return what is wrong with the checkpoint that a resumed job began with: it names who trained before."""
    checkpoint = job.folder / CONFIG / CHECKPOINT
    try:
        check_checkpoint(checkpoint, job.experiment)
        if job.experiment.resumes:
            read_modalities(checkpoint)
    except FedginError as error:
        return error
    return None


def as_submitted(job: Job, meta: Mapping[str, Any], result: RunResult) -> Job:
    """Return a job with the ``min_clients`` and all the sites that it really ran with.

    Args:
        job: as the lead has it.
        meta: FLARE's record of it.
        result: what it left, with the sites that FLARE deployed it to.

    Raises:
        DataError: the record is not as FLARE writes it.
    """
    record = _read_record(meta, job)
    named = {site for sites in record.deploy_map.values() for site in sites}
    sites = {site for done in result.participation for site in done.expected}
    least = record.min_clients
    if ALL_SITES in named:
        # It was submitted past 'fedgin run': nobody said that a site may be missing.
        least = max(least, len(sites))
    else:
        sites |= named - {SERVER_SITE_NAME}
    return replace(job, sites=tuple(sorted(sites)), min_clients=least)


def _read_record(meta: Mapping[str, Any], job: Job) -> _Record:
    try:
        return _Record.model_validate({JobMetaKey.MIN_CLIENTS.value: job.min_clients, **meta})
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DataError(
            f"the record of job {job.name} is not as FLARE writes it: '{one_line(place)}'", "fetch the result again"
        ) from None

"""The server's jobs: which runs, which waits, in which place, and for what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nvflare.apis.job_def import JobMetaKey, RunStatus

from fedgin.errors import one_line
from fedgin.flare.run.console import ConsoleError, Session
from fedgin.flare.server.job_manager import has_ended


@dataclass(frozen=True)
class QueuedJob:
    """A job as the server keeps it.

    Attributes:
        job_id: FLARE's.
        name: as it was submitted.
        state: FLARE's status, such as ``RUNNING`` or ``FINISHED:COMPLETED``.
        submitter: the person's name in FLARE.
        submitted: the moment, in ISO 8601.
        duration: that it has run, as ``H:MM:SS``; empty before it starts.
        place: among the jobs that wait, from 1; 0 for one that does not wait.
        waits_for: the reason, in words; empty for one that does not wait.
        behind: whether that is another job.
    """

    job_id: str
    name: str
    state: str
    submitter: str
    submitted: str
    duration: str
    place: int
    waits_for: str
    behind: bool


def list_jobs(session: Session) -> list[QueuedJob]:
    """Return all jobs in the order in which they were submitted.

    Raises:
        ConsoleError: this person may not see them.
    """
    try:
        metas = session.list_jobs(detailed=True)
    except Exception as error:
        raise ConsoleError(f"the jobs cannot be listed: {error}", "use the kit of a person of this project") from None
    ordered = sorted(metas, key=lambda meta: float(meta.get(JobMetaKey.SUBMIT_TIME.value) or 0.0))
    return [_describe(meta, ordered) for meta in ordered]


def _describe(meta: Mapping[str, Any], ordered: Sequence[Mapping[str, Any]]) -> QueuedJob:
    waiting = [_text(each, JobMetaKey.JOB_ID) for each in ordered if _state(each) == RunStatus.SUBMITTED.value]
    job_id = _text(meta, JobMetaKey.JOB_ID)
    place = waiting.index(job_id) + 1 if job_id in waiting else 0
    ahead = _ahead(ordered, place) if place else []
    return QueuedJob(
        job_id=job_id,
        name=_text(meta, JobMetaKey.JOB_NAME) or _text(meta, JobMetaKey.JOB_FOLDER_NAME),
        state=_state(meta),
        submitter=_text(meta, JobMetaKey.SUBMITTER_NAME),
        submitted=_text(meta, JobMetaKey.SUBMIT_TIME_ISO)[:19],
        duration=_text(meta, JobMetaKey.DURATION).partition(".")[0].replace("N/A", ""),
        place=place,
        waits_for=", then ".join(ahead) or (_reason(meta) if place else ""),
        behind=bool(ahead),
    )


def _ahead(ordered: Sequence[Mapping[str, Any]], place: int) -> list[str]:
    """Name the jobs that come first: the server tries no other while one runs."""
    at_work = [each for each in ordered if _state(each) != RunStatus.SUBMITTED.value and not has_ended(each)]
    named = [f"job {_text(each, JobMetaKey.JOB_ID)}, which is {_state(each)}" for each in at_work]
    return named + ([f"{place - 1} submitted before it"] if place > 1 else [])


def _reason(meta: Mapping[str, Any]) -> str:
    """Return what FLARE noted, behind the time, when it last tried to start a job in vain."""
    tries = meta.get(JobMetaKey.SCHEDULE_HISTORY.value) or [": the server tries soon"]
    return one_line(str(tries[-1])).partition(": ")[2]


def _state(meta: Mapping[str, Any]) -> str:
    return _text(meta, JobMetaKey.STATUS)


def _text(meta: Mapping[str, Any], key: JobMetaKey) -> str:
    value = meta.get(key.value)
    return "" if value is None else one_line(str(value))

"""Fetch what the server kept of a job: to keep it, or to go on with it."""

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nvflare.apis.job_def import JobMetaKey, RunStatus

from fedgin.errors import one_line
from fedgin.files import write_text
from fedgin.flare.jobs.job import Job, read_finished_job, stage_resumed
from fedgin.flare.run.console import ConsoleError, Session, job_record, job_status, problem_and_fix, silence
from fedgin.flare.run.outcome import CASE_SCORES, RECORD, REPORT, SITE_SCORES, as_submitted
from fedgin.flare.run.results import JOB, RunResult
from fedgin.flare.server.job_manager import has_ended
from fedgin.folders import MARK, whole_folder
from fedgin.train.provenance import FILE as PROVENANCE

# What is written into the folder of a result when it has been fetched.
WRITTEN = (REPORT, PROVENANCE, SITE_SCORES, CASE_SCORES)


def fetch(session: Session, job_id: str, out: Path, *, overwrite: bool = False) -> RunResult:
    """Download what the server kept of a job that ended, with the job itself and FLARE's record of it.

    Args:
        session: of the console.
        job_id: FLARE's.
        out: replaced when it holds the same job, or when it is a folder of ours and ``overwrite`` says so.
        overwrite: see ``out``.

    Raises:
        ConsoleError: there is nothing to download, this person may not, the job has not ended, or it was refused at its
            submission; names the reason.
        FolderError: ``out`` holds something else.
    """
    meta = job_record(session, job_id)
    if not has_ended(meta):
        raise ConsoleError(
            f"job {job_id} is {job_status(meta)}", f"follow it: fedgin run JOB --kit KIT --follow {job_id}"
        )
    with (
        whole_folder(out, holds=held(job_id), overwrite=overwrite, also=WRITTEN) as part,
        _downloaded(session, job_id, out) as found,
    ):
        # A job that no site would take has no run folder.
        for path in (found / "workspace").glob("*"):
            path.rename(part / path.name)
        for kept in (JOB, RECORD):  # a server could have put something there
            _remove(part / kept)
        submitted = _submitted(found, job_id, meta)
        name = str(meta.get(JobMetaKey.JOB_FOLDER_NAME.value) or submitted.name).rstrip("/")
        ignored = shutil.ignore_patterns(MARK, ".__nvfl_*")
        shutil.copytree(submitted, part / JOB / _folder_name(name.rpartition("/")[2]), ignore=ignored)
        write_text(part / RECORD, json.dumps(meta, indent=2, default=str) + "\n")
    return RunResult(out)


def held(job_id: str) -> str:
    """Return what the mark of a job's result folder says."""
    return f"job {job_id}"


def fetch_to_resume(session: Session, job_id: str, out: Path) -> Job:
    """Download a job that ended early and make of it, in ``out``, one that goes on after its last complete round.

    Raises:
        ConsoleError: the job still runs, was a success, cannot be downloaded, or was refused at its submission.
        FedginError: no round of it is complete, or its checkpoint is damaged; names the fix.
    """
    meta = job_record(session, job_id)
    if not has_ended(meta):
        raise ConsoleError(
            f"job {job_id} is {job_status(meta)}",
            f"end it: fedgin abort {job_id} --kit KIT; or restart a server that crashed",
        )
    with _downloaded(session, job_id, out) as found:
        job = read_finished_job(_submitted(found, job_id, meta))
        result = RunResult(found / "workspace")
        ran = as_submitted(job, meta, result)
        if job_status(meta) == RunStatus.FINISHED_COMPLETED.value and not result.fault(ran, ran.sites):
            raise ConsoleError(f"job {job_id} was completed", f"fetch it: fedgin fetch {job_id} --kit KIT")
        return stage_resumed(job, job_id, result.checkpoint, out)


def _submitted(found: Path, job_id: str, meta: Mapping[str, Any]) -> Path:
    """Return the folder of the job as it was submitted; of one that was refused then the server keeps no files."""
    for file in (found / "job").rglob("meta.json"):
        return file.parent
    details = meta.get(JobMetaKey.JOB_DEPLOY_DETAIL.value)
    said = one_line(str(details[0])) if isinstance(details, list) and details else ""
    problem, fix = problem_and_fix(said.removeprefix("server: "))
    again = "submit it anew: fedgin run JOB --kit KIT"
    if not said.startswith("server: ") or problem in ("", "OK"):  # it was deployed, and its files are lost
        raise ConsoleError(f"the server keeps no files of job {job_id}", again)
    raise ConsoleError(f"the server refused job {job_id}: {problem}", f"{fix}; {again}" if fix else again)


@contextlib.contextmanager
def _downloaded(session: Session, job_id: str, beside: Path) -> Iterator[Path]:
    """Yield a temporary folder with ``workspace`` and ``job``."""
    beside.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=beside.parent) as place:
        try:
            with silence():
                found = Path(session.download_job_result(job_id, place))
        except Exception as error:
            raise ConsoleError(f"job {job_id} cannot be downloaded: {error}", "ask the job's submitter") from None
        yield found


def _folder_name(said: str) -> str:
    return re.sub(r"[^\w.-]|^\.+", "_", said)[:100]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

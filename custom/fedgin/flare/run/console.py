"""The admin console as functions: submit a job, fetch what it left. FLARE's own session does the work."""

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nvflare.apis.job_def import ALL_SITES, SERVER_SITE_NAME, JobMetaKey, RunStatus
from nvflare.fuel.flare_api.flare_api import Session as Session
from nvflare.fuel.flare_api.flare_api import new_secure_session

from fedgin.errors import ConfigError, FedginError, one_line
from fedgin.flare.jobs.job import Job, load_job, stage_resumed, write_job
from fedgin.flare.run.results import RunResult, first_errors
from fedgin.flare.server.job_manager import has_ended
from fedgin.folders import whole_folder
from fedgin.train.provenance import FILE as PROVENANCE

# The page that is written into the folder of a result.
REPORT = "report.html"


class ConsoleError(FedginError):
    """The server cannot be reached, refused an operation, or the job did not end well."""

    code = "FG-050"


@contextlib.contextmanager
def connect(kit: Path, *, seconds: float = 30.0) -> Iterator[Session]:
    """Open a session with an unpacked admin kit.

    Raises:
        ConfigError: the folder is no admin kit.
        ConsoleError: the server does not answer, or refuses the kit.
    """
    kit = kit.resolve()
    try:
        admin = json.loads((kit / "startup" / "fed_admin.json").read_text(encoding="utf-8"))["admin"]
        user, server = str(admin["username"]), f"{admin['host']}:{admin['port']}"
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{kit}: no admin kit", "give the folder of your unpacked console kit") from None
    try:
        with _silence():
            session = new_secure_session(user, str(kit), timeout=seconds)
    except Exception as error:  # FLARE raises many kinds, with the reason in the text
        raise ConsoleError(
            f"no session with {server} as {user}: {error}",
            "check that the server runs, that its name resolves here, and that your certificate is valid",
        ) from None
    try:
        yield session
    finally:
        with _silence():
            session.close()


def choose_sites(job: Job, connected: Sequence[str], min_sites: int | None) -> Job:
    """Name the sites that a job will run on: those that it names, or else all that are connected.

    Args:
        job: the job to be submitted.
        connected: sites.
        min_sites: how many of the sites every round needs. Without it every site is needed, and the job must be for as
            many as are connected.

    Raises:
        ConsoleError: other sites are connected than the job is for, or fewer than ``min_sites``.
    """
    sites = tuple(job.sites or connected)
    present = [site for site in sites if site in connected]
    found = f"{'of them ' if job.sites else ''}connected: {', '.join(present) or 'none'} ({len(present)})"
    if min_sites is None and not len(present) == len(sites) == job.min_clients:
        named = f" ({', '.join(job.sites)})" if job.sites else ""
        raise ConsoleError(
            f"job {job.name} is for {job.min_clients} sites{named}; {found}",
            "let exactly the sites connect that are meant, or say how many of the connected ones every round needs; "
            f"all of them: --min-sites {max(1, len(present))}",
        )
    if min_sites is not None and len(present) < min_sites:
        raise ConsoleError(f"--min-sites {min_sites}: {found}", "wait for the missing ones, or give a smaller number")
    return replace(job, sites=sites, min_clients=min_sites or job.min_clients)


def submit(session: Session, job: Job) -> str:
    """Submit a copy of the job, with its sites by name, and return the job's id.

    A copy, because FLARE writes its signatures into the folder, too.

    Raises:
        ConsoleError: the server refused it; the message is the server's.
    """
    with tempfile.TemporaryDirectory(prefix="fedgin-") as staging:
        copy = write_job(job, Path(staging) / job.name)
        try:
            return str(session.submit_job(str(copy.folder)))
        except Exception as error:  # one kind for each reason; the text is what helps
            raise ConsoleError(
                f"job {job.name} was refused: {error}", "correct the job, or ask for the role that it needs"
            ) from None


def fetch(session: Session, job_id: str, out: Path, *, overwrite: bool = False) -> RunResult:
    """Download what the server kept of a job.

    Args:
        session: the session of the console.
        job_id: FLARE's.
        out: replaced when it holds the same job, or when it is a folder of ours and ``overwrite`` says so.
        overwrite: see ``out``.

    Raises:
        ConsoleError: there is nothing to download, or this person may not.
        FolderError: ``out`` holds something else.
    """
    with (
        whole_folder(out, holds=held(job_id), overwrite=overwrite, also=[REPORT, PROVENANCE]) as part,
        _downloaded(session, job_id, out) as found,
    ):
        # A job that no site would take has no run folder.
        for path in (found / "workspace").glob("*"):
            path.rename(part / path.name)
    return RunResult(out)


def held(job_id: str) -> str:
    """Return what the mark of a job's result folder says."""
    return f"job {job_id}"


def fetch_to_resume(session: Session, job_id: str, out: Path) -> Job:
    """Download a job that ended early and make of it, in ``out``, one that goes on after its last complete round.

    Raises:
        ConsoleError: the job still runs, was a success, or cannot be downloaded.
        FedginError: no round of it is complete, or its checkpoint is damaged; names the fix.
    """
    try:
        meta = session.get_job_meta(job_id)
        status = str(meta[JobMetaKey.STATUS.value])
    except Exception as error:
        raise ConsoleError(f"job {job_id}: {error}", "see 'list_jobs' of the console for its id") from None
    if not has_ended(meta):
        raise ConsoleError(
            f"job {job_id} is {status}", "end it with 'abort_job' of the console, or restart a server that crashed"
        )
    with _downloaded(session, job_id, out) as found:
        job, result = load_job(next((found / "job").rglob("meta.json")).parent), RunResult(found / "workspace")
        ran = as_submitted(job, meta, result)
        if status == RunStatus.FINISHED_COMPLETED.value and not result.fault(ran, ran.sites):
            raise ConsoleError(f"job {job_id} was completed", f"fetch it: fedgin run JOB --kit KIT --follow {job_id}")
        return stage_resumed(job, job_id, result.checkpoint, out)


@contextlib.contextmanager
def _downloaded(session: Session, job_id: str, beside: Path) -> Iterator[Path]:
    """Yield a temporary folder with ``workspace`` and ``job``."""
    beside.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=beside.parent) as place:
        try:
            with _silence():
                found = Path(session.download_job_result(job_id, place))
        except Exception as error:
            raise ConsoleError(f"job {job_id} cannot be downloaded: {error}", "ask the job's submitter") from None
        yield found


def as_submitted(job: Job, meta: Mapping[str, Any], result: RunResult) -> Job:
    """Return a job with the ``min_clients`` and all the sites that it really ran with.

    Args:
        job: as the lead has it.
        meta: FLARE's record of it.
        result: what it left, with the sites that FLARE deployed it to.
    """
    named = {site for sites in dict(meta.get(JobMetaKey.DEPLOY_MAP.value, {})).values() for site in sites}
    sites = {site for done in result.participation for site in done.expected}
    least = int(meta.get(JobMetaKey.MIN_CLIENTS.value, job.min_clients))
    if ALL_SITES in named:
        # It was submitted past 'fedgin run': nobody said that a site may be missing.
        least = max(least, len(sites))
    else:
        sites |= named - {SERVER_SITE_NAME}
    return replace(job, sites=tuple(sorted(sites)), min_clients=least)


def check(result: RunResult, meta: Mapping[str, Any], job: Job) -> None:
    """Refuse to call a job a success by FLARE's status alone.

    Args:
        result: what the server kept.
        meta: FLARE's record of the job.
        job: :func:`as_submitted`.

    Raises:
        ConsoleError: it failed, or a round, a site or a model is missing; names the first cause that is known.
    """
    status = str(meta.get(JobMetaKey.STATUS.value))
    fault = f"it ended as {status}" if status != RunStatus.FINISHED_COMPLETED.value else ""
    fault = fault or result.fault(job, job.sites)
    if fault:
        log = result.folder / "error_log.txt"
        said = [one_line(str(line)) for line in meta.get(JobMetaKey.JOB_DEPLOY_DETAIL.value, [])]
        refused = "".join(f"\n  {line}" for line in said if not line.endswith(": OK"))
        raise ConsoleError(
            f"job {job.name}: {fault}",
            f"mend the first cause below; what the server kept is in {result.folder}{refused}{first_errors(log)}",
        )


def connected_sites(session: Session) -> list[str]:
    """Return the names of the sites that are registered now."""
    return sorted(client.name for client in session.get_connected_client_list())


def withdraw(session: Session, site: str) -> None:
    """Let the server refuse a site from now on, also after a restart of either.

    Raises:
        ConsoleError: this person may not.
    """
    try:
        session.disable_client(site)
    except Exception as error:
        raise ConsoleError(f"{site} was not withdrawn: {error}", "use the kit of a project_admin") from None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """FLARE's session prints its own progress."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield

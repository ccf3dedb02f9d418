"""The admin console as functions: submit a job, fetch what it left. FLARE's own session does the work."""

import contextlib
import io
import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nvflare.apis.job_def import JobMetaKey
from nvflare.fuel.flare_api.api_spec import NoConnection
from nvflare.fuel.flare_api.flare_api import Session as Session
from nvflare.fuel.flare_api.flare_api import new_secure_session

from fedgin.errors import ConfigError, FedginError, one_line
from fedgin.flare.jobs.job import Job, write_job
from fedgin.flare.process import leave_out_http
from fedgin.flare.run.upload_answer import bear_slow_lines, hear_refusals
from fedgin.flare.server.job_manager import has_ended

POLL_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
# At the end of one of our errors.
CODE = re.compile(r" \[FG-\d+\]$")


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
    leave_out_http()
    try:
        with silence():
            session = new_secure_session(user, str(kit), timeout=seconds)
        bear_slow_lines(session.api)
        hear_refusals(session.api)
    except Exception as error:  # FLARE raises many kinds, with the reason in the text
        raise ConsoleError(
            f"no session with {server} as {user}: {error}",
            "check that the server runs, that its name resolves here, and that your certificate is valid",
        ) from None
    try:
        yield session
    finally:
        with silence():
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
            problem, fix = problem_and_fix(str(error))
            raise ConsoleError(
                f"job {job.name} was refused: {problem}", fix or "correct the job, or ask for the role that it needs"
            ) from None


def connected_sites(session: Session) -> list[str]:
    """Return the names of the sites that are registered now."""
    return sorted(client.name for client in session.get_connected_client_list())


def withdraw(session: Session, site: str) -> bool:
    """Let the server refuse a site from now on, also after a restart of either.

    Returns:
        whether the server knows the name: such a site was connected, or was refused before. It takes any other one,
        too, and would refuse a site of that name.

    Raises:
        ConsoleError: this person may not.
    """
    try:
        [answer] = session.disable_client(site)["clients"]
    except Exception as error:
        raise ConsoleError(f"{site} was not withdrawn: {error}", "use the kit of a project_admin") from None
    return bool(answer.get("active_session_removed") or answer.get("already_disabled"))


def abort(session: Session, job_id: str, *, seconds: float = 120.0) -> str:
    """End a job; return its status once the server says that it ended.

    Args:
        session: of the job's submitter, or of a project_admin.
        job_id: FLARE's.
        seconds: to wait; a job that runs takes some ten.

    Raises:
        ConsoleError: there is no such job, this person may not, it had ended before, or it does not end.
    """
    status = job_status(job_record(session, job_id))
    if status.startswith("FINISHED:"):
        raise ConsoleError(f"job {job_id} had ended before: {status}", "see the others: fedgin jobs")
    end = time.monotonic() + seconds
    try:
        session.abort_job(job_id)
    except Exception as error:
        raise ConsoleError(f"job {job_id} was not aborted: {error}", "use the kit of its submitter") from None
    while not has_ended(meta := job_record(session, job_id)):
        if time.monotonic() > end:
            raise ConsoleError(f"job {job_id} is {job_status(meta)} still", "look at the server; then abort it again")
        time.sleep(1.0)
    return job_status(meta)


def job_record(session: Session, job_id: str) -> dict[str, Any]:
    """Return what FLARE notes of a job.

    A lost message loses no result: the server, which may be busy with the job's end, is asked again for a minute.

    Raises:
        ConsoleError: there is no such job, this person may not see it, or the server could not be reached for a minute.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return dict(session.get_job_meta(job_id))
        except NoConnection:
            if time.monotonic() > end:
                raise ConsoleError(
                    f"job {job_id}: the server could not be reached for {PATIENCE_SECONDS:.0f} s",
                    "look at the server, then give the same command again",
                ) from None
            time.sleep(POLL_SECONDS)
        except Exception as error:
            raise ConsoleError(f"job {job_id}: {one_line(str(error))}", "see 'fedgin jobs' for its id") from None


def job_status(meta: Mapping[str, Any]) -> str:
    """Return FLARE's status of a job, such as ``FINISHED:COMPLETED``."""
    return one_line(str(meta.get(JobMetaKey.STATUS.value)))


def problem_and_fix(said: str) -> tuple[str, str]:
    """Take apart an error of ours that came as text; of another's the fix is empty."""
    problem, _, fix = CODE.sub("", said).partition(". Fix: ")
    return problem, fix


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep FLARE's session from printing its own progress."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield

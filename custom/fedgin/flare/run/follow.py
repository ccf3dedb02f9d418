"""Follow a job that was submitted: its status, its rounds, who failed and who is late."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from nvflare.apis.job_def import JobMetaKey, RunStatus
from nvflare.fuel.flare_api.api_spec import (
    AuthenticationError,
    AuthorizationError,
    InternalError,
    JobNotFound,
    MonitorReturnCode,
    NoConnection,
    NoReply,
    SessionClosed,
)

from fedgin.errors import one_line, with_fix
from fedgin.flare.jobs.configuration import COLLECTION, EVALUATION_ALONE, FINAL_EVALUATION
from fedgin.flare.organ_table import read_table
from fedgin.flare.protocol import ORGANS, STATS
from fedgin.flare.provisioning.builders import ANSWER_SECONDS
from fedgin.flare.run.console import PATIENCE_SECONDS, POLL_SECONDS, ConsoleError, Session
from fedgin.flare.run.queue import QueuedJob, list_jobs
from fedgin.flare.run.results import RoundMetrics

# A round in which some have answered and nobody else has for so long is worth a word.
LATE_SECONDS = 60.0
# The server, and then the sites, load PyTorch and MONAI to check a job; FLARE says nothing until all have answered.
START_SECONDS = LATE_SECONDS + 2 * ANSWER_SECONDS

# What FLARE's session raises, without a base of their own, when the server answers otherwise than with a job.
REFUSALS = (AuthenticationError, AuthorizationError, InternalError, JobNotFound, NoReply, RuntimeError, SessionClosed)

OnRound = Callable[[RoundMetrics], None]


def follow(
    session: Session,
    job_id: str,
    *,
    on_status: Callable[[str], None],
    on_round: OnRound,
    on_progress: Callable[[str], None] = lambda said: None,
) -> dict[str, Any]:
    """Wait until the job ends; return FLARE's record of it.

    Args:
        session: the session of a person who may view jobs.
        job_id: as FLARE names it.
        on_status: called with each new status, once with the organs that each site labels, once with each reason why
            the job was not started, once with each failure that a site reports, and once a round with the sites that
            are late: a minute after another's last answer.
        on_round: called for each round as soon as all answers are in.
        on_progress: called every two seconds with what is waited for now.

    Raises:
        ConsoleError: the server could not be reached for a minute, has closed the session or has no such job. But for
            the last, the job may well go on.
    """
    follower = _Follower(on_status, on_round, on_progress)
    while True:
        try:
            code, meta = session.monitor_job_and_return_job_meta(job_id, poll_interval=POLL_SECONDS, cb=follower)
        except NoConnection:
            # One lost message is no reason to stop looking: the server may be busy, or the network away for a moment.
            if time.monotonic() - follower.reached > PATIENCE_SECONDS:
                raise ConsoleError(
                    f"job {job_id}: the server could not be reached for {PATIENCE_SECONDS:.0f} s",
                    "the job may well go on: look at the server, then follow the job again",
                ) from None
            time.sleep(POLL_SECONDS)
            continue
        except REFUSALS as error:
            raise _refusal(job_id, error) from None
        assert code == MonitorReturnCode.JOB_FINISHED
        return dict(meta)


def _refusal(job_id: str, error: Exception) -> ConsoleError:
    if isinstance(error, JobNotFound):
        return ConsoleError(f"job {job_id}: the server has no such job", "see 'fedgin jobs' for its id")
    said = one_line(str(error)) or type(error).__name__
    return ConsoleError(f"job {job_id} cannot be followed: {said}", "the job may well go on: follow it again")


class _Follower:
    """Turns FLARE's polls into events; each is told once."""

    def __init__(self, on_status: Callable[[str], None], on_round: OnRound, on_progress: Callable[[str], None]) -> None:
        self.on_status = on_status
        self.on_round = on_round
        self.on_progress = on_progress
        self.told: set[str] = set()
        self.started = self.reached = time.monotonic()
        self.answers: tuple[str, int] = ("", 0)
        self.last_answer = self.reached

    def __call__(self, session: Session, job_id: str, meta: Mapping[str, Any]) -> bool:
        self.reached = time.monotonic()
        status = str(meta[JobMetaKey.STATUS.value])
        self._tell(status)
        if status == RunStatus.SUBMITTED.value:
            self._tell_why_it_waits(session, job_id, meta.get(JobMetaKey.SCHEDULE_HISTORY.value) or [])
        stats = _statistics(session, job_id)
        if isinstance(stats, dict):
            self._read(stats)
        return True

    def _read(self, stats: Mapping[str, Any]) -> None:
        table = read_table(stats.get(ORGANS))
        for line in table.lines() if table else ():
            self._tell(line)
        ours = stats.get(STATS, {})
        for failure in ours.get("failures", []):
            self._tell(failure)
        workflow, expected = str(stats.get("ServerRunner", {}).get("workflow")), ours.get("expected", [])
        if workflow == COLLECTION:
            self.on_progress("the sites are asked for their fingerprints")
            return
        if workflow == EVALUATION_ALONE:
            self._read_scores(ours.get("scored", {}), expected)
            return
        rounds = ours.get("rounds", {})
        # FLARE shows None as the round while its controller starts.
        running = int(stats.get("ScatterAndGather", {}).get("current_round") or 0)
        for number in sorted(rounds, key=int):
            if f"round {number}" not in self.told and int(number) < running:
                self.told.add(f"round {number}")
                self.on_round(RoundMetrics(int(number), rounds[number]))
        answered = rounds.get(str(running), {})
        self._tell_who_is_late(f"round {running + 1}", answered, expected)
        if workflow == FINAL_EVALUATION:
            self._tell(
                "all rounds are done; every site measures the final models now (cross-site evaluation), "
                "which takes each of them about as long as its validation"
            )
            self.on_progress("final evaluation")
        else:
            self._tell_progress(f"round {running + 1}", answered, expected)

    def _read_scores(self, scored: Mapping[str, str], expected: Collection[str]) -> None:
        """Tell of each site that has scored the model, in a job that evaluates one."""
        for site, said in scored.items():
            self._tell(f"site {site} has scored the model: {said}")
        self._tell_who_is_late("the evaluation", scored, expected)
        self._tell_progress("evaluation", scored, expected)

    def _tell_progress(self, what: str, answered: Collection[str], expected: Collection[str]) -> None:
        seconds = time.monotonic() - self.last_answer
        who = f"{len(answered)} of {len(expected)} sites have answered"
        last = f"the last {seconds:.0f} s ago" if answered else f"{seconds:.0f} s"
        self.on_progress(f"{what}: {who}, {last}")

    def _tell_why_it_waits(self, session: Session, job_id: str, tries: Sequence[str]) -> None:
        """FLARE notes a reason, behind the time, whenever it tried in vain, and nothing while another job runs."""
        for tried in tries:
            self._tell(f"the server could not start it yet: {tried.partition(': ')[2]}")
        ahead = [each.waits_for for each in _queue(session) if each.job_id == job_id and each.behind]
        if ahead:
            self._tell(f"it waits for {ahead[0]}")
        elif not tries and time.monotonic() - self.started >= START_SECONDS:
            self._tell(
                with_fix("the server has not tried to start it yet, although no other job runs", "restart the server")
            )

    def _tell_who_is_late(self, what: str, answered: Collection[str], expected: Collection[str]) -> None:
        """Name the sites that keep the others waiting; once everybody has answered nobody does."""
        if self.answers != (what, len(answered)):
            self.answers, self.last_answer = (what, len(answered)), time.monotonic()
        late = sorted(set(expected) - set(answered))
        if answered and late and time.monotonic() - self.last_answer >= LATE_SECONDS:
            self._tell(f"{what} waits for {', '.join(late)}; the other sites have answered")

    def _tell(self, said: str) -> None:
        text = one_line(said)
        if text not in self.told:
            self.told.add(text)
            self.on_status(text)


def _statistics(session: Session, job_id: str) -> object:
    """Return what the job's parts at the server tell, or nothing now; the next look at the job tells what is wrong."""
    try:
        return session.show_stats(job_id, "server").get("server")
    except Exception:  # of many kinds: the job does not run yet or any more, or the network is away for a moment
        return None


def _queue(session: Session) -> list[QueuedJob]:
    try:
        return list_jobs(session)
    except ConsoleError:  # the network may be away for a moment
        return []

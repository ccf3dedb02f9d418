"""Follow a submitted job to its end: a line for each round, then model and report."""

import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from fedgin.cli.live_page import LivePage
from fedgin.errors import FedginError, one_line
from fedgin.flare.jobs.job import Job
from fedgin.flare.run.console import REPORT, Session, as_submitted, check, fetch
from fedgin.flare.run.follow import follow
from fedgin.flare.run.job_provenance import describe_job
from fedgin.flare.run.results import RoundMetrics, RunResult
from fedgin.train.provenance import write_provenance


def lead_console() -> Console:
    """Return a console that prints what sites say as it is: none of it is markup."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Submitted:
    """A job that was submitted, and where its result goes.

    Attributes:
        job: the job.
        job_id: FLARE's.
        kit: the lead's.
        out: folder of the result.
        overwrite: whether an earlier result there is replaced.
    """

    job: Job
    job_id: str
    kit: Path
    out: Path
    overwrite: bool = False

    @property
    def again(self) -> str:
        """The command, for a shell, that follows the job again."""
        command = ["fedgin", "run", self.job.folder, "--kit", self.kit, "--out", self.out, "--follow", self.job_id]
        return shlex.join([*map(str, command), *(["--overwrite"] if self.overwrite else [])])


def follow_to_end(session: Session, submitted: Submitted) -> None:
    """Print each round with the Dice of every site, fetch the result and write its report.

    The report is there from the start and renewed with every round, so that a browser may show it all the time.

    Raises:
        ConsoleError: the job did not end well; what the server kept is in the folder all the same, and a report of it
            too when a round was recorded.
    """
    console, job, job_id, out = lead_console(), submitted.job, submitted.job_id, submitted.out
    console.print(f"job {job_id}; its report, renewed every round: {out / REPORT}")
    live = LivePage(out / REPORT, job, job_id)
    try:
        meta = follow(session, job_id, on_status=live.telling(console.print), on_round=RoundPrinter(console, job, live))
        result = fetch(session, job_id, out, overwrite=submitted.overwrite)
    except KeyboardInterrupt:
        live.leave(f"Nobody follows the job any more; it goes on. Follow it again: {submitted.again}")
        console.print(f"Left running. Follow it again: {submitted.again}")
        raise typer.Exit(130) from None
    except FedginError as error:
        live.leave(error.problem)
        raise
    job = as_submitted(job, meta, result)
    try:
        check(result, meta, job)
    except FedginError as error:
        live.leave(error.problem)
        write_result(console, job, job_id, result, fault=error.problem)
        raise
    write_result(console, job, job_id, result)


def write_result(console: Console, job: Job, job_id: str, result: RunResult, *, fault: str = "") -> None:
    """Write report and provenance into the folder of a result, and print where report and model are.

    Args:
        console: the console to print to.
        job: as it ran.
        job_id: FLARE's.
        result: the result of a run; nothing is written of one that failed before its first round was over.
        fault: what keeps it from being a success; its model is not recommended then.
    """
    if fault and not result.participation:
        return
    from fedgin.report.job_page import write_run_report  # draws, with Matplotlib: not while a job runs for days

    write_provenance(result.folder, describe_job(job, job_id, result, fault=fault))
    report = write_run_report(result.folder / REPORT, job, job_id, result, fault=fault)
    console.print(f"Report: {report}" if fault else f"Model: {result.chosen_model}\nReport: {report}")


class RoundPrinter:
    """Prints a line for each round, and tells the live page of it.

    The estimate leaves out the first round, which contains FLARE's start.
    """

    def __init__(self, console: Console, job: Job, live: LivePage) -> None:
        self.live = live
        self.console = console
        self.rounds = job.rounds
        self.total = job.first_round + job.rounds
        self.ends: list[float] = []

    def __call__(self, metrics: RoundMetrics) -> None:
        """Print the line of a round that is complete, and renew the page."""
        self.live.add(metrics)
        self.ends.append(time.monotonic())
        done = len(self.ends)
        left = ""
        if 1 < done < self.rounds:
            left = f"  about {(self.ends[-1] - self.ends[0]) / (done - 1) * (self.rounds - done):.0f} s left"
        dice = "  ".join(f"{one_line(site)} {value:.3f}" for site, value in metrics.dice.items())
        self.console.print(f"round {metrics.number + 1}/{self.total}  validation Dice  {dice}{left}")

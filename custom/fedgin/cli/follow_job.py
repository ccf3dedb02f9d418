"""Follow a submitted job to its end: a line for each round, then model and report."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from fedgin.cli.evaluation_result import write_evaluation
from fedgin.cli.interrupt import Interruption
from fedgin.cli.live_page import LivePage
from fedgin.cli.remaining import RemainingTime, left
from fedgin.data.organ_names import doubtful_organs
from fedgin.errors import FedginError, WeightsError, one_line
from fedgin.flare.collection import FILE as COLLECTION
from fedgin.flare.jobs.installed import count_parameters
from fedgin.flare.jobs.job import Job
from fedgin.flare.run.console import Session
from fedgin.flare.run.download import fetch
from fedgin.flare.run.follow import follow
from fedgin.flare.run.job_provenance import describe_job
from fedgin.flare.run.outcome import REPORT, read_outcome
from fedgin.flare.run.results import RoundMetrics, RunResult
from fedgin.folders import own_folder
from fedgin.train.experiment import Experiment
from fedgin.train.provenance import FILE as PROVENANCE
from fedgin.train.provenance import Kind, write_provenance


def lead_console(*, quiet: bool = False) -> Console:
    """Return a console that prints what sites say as it is: none of it is markup."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True, quiet=quiet)


def check_parts(console: Console, experiment: Experiment, models: Path | None = None) -> None:
    """Check, before a job is submitted, what would be found on a running server only, and say what looks odd.

    Args:
        console: to print to.
        experiment: of the job.
        models: the folder with the file that the job starts from; ``None`` where server and sites have it.

    Raises:
        FedginError: network or augmentation cannot be built, or the file does not fit.
    """
    count_parameters(experiment, models=models)
    for doubt in doubtful_organs(experiment.organs):
        console.print(f"Warning: {doubt}")


def result_folder(name: str, *, holds: str = "", overwrite: bool = False) -> Path:
    """Return the folder of a result by default: ``runs/NAME``, or the next one that is free.

    Args:
        name: of the job.
        holds: what the mark of a folder says that may be taken again.
        overwrite: whether the first of them is to be replaced.
    """
    wanted = Path("runs") / name
    return wanted if overwrite else own_folder(wanted, holds=holds)


def who_is_needed(job: Job) -> str:
    """Say which sites a job is for, and how many of them it needs."""
    what = "the evaluation" if job.evaluated else "every round"
    return f"sites: {', '.join(job.sites)}; {what} needs {job.min_clients} of them"


@dataclass(frozen=True)
class Submitted:
    """A job that was submitted, and where its result goes.

    Attributes:
        job: the job.
        job_id: FLARE's.
        kit: the lead's.
        out: folder of the result.
        bundle: that the job evaluates; none for a job that trains.
        overwrite: whether an earlier result there is replaced.
        quiet: whether nothing is printed but errors.
        rounds: that the lead asked for; none for as many as the folder of the job says.
    """

    job: Job
    job_id: str
    kit: Path
    out: Path
    bundle: Path | None = None
    overwrite: bool = False
    quiet: bool = False
    rounds: int | None = None

    @property
    def again(self) -> str:
        """The command, for a shell, that follows the job again."""
        evaluated = ["--bundle", self.bundle] if self.bundle else []
        rounds = ["--rounds", self.rounds] if self.rounds else []
        return self._command("run", self.job.folder, *evaluated, *rounds, "--follow", self.job_id)

    @property
    def fetching(self) -> str:
        """The command, for a shell, that fetches the result of the job."""
        return self._command("fetch", self.job_id)

    def _command(self, verb: str, *arguments: object) -> str:
        flags = {"--overwrite": self.overwrite, "--quiet": self.quiet}
        options = ["--kit", self.kit, "--out", self.out, *(name for name, given in flags.items() if given)]
        return shlex.join(map(str, ("fedgin", verb, *arguments, *options)))


def follow_to_end(session: Session, submitted: Submitted, stopped: Interruption) -> None:
    """Print each round with the Dice of every site, fetch the result and write its report.

    The report is there from the start and renewed with every round, so that a browser may show it all the time.

    Args:
        session: of the console.
        submitted: what to follow.
        stopped: is told what to say when this is interrupted.

    Raises:
        ConsoleError: the job did not end well; what the server kept is in the folder all the same, and a report of it
            too when a round was recorded.
    """
    console, job_id, out = lead_console(quiet=submitted.quiet), submitted.job_id, submitted.out
    console.print(f"job {job_id}; its report, renewed every round: {out / REPORT}")
    live = LivePage(out / REPORT, submitted.job, job_id)
    stopped.advice = f"The job is left running. Follow it again: {submitted.again}"
    try:
        # Rich shows the line that changes on a terminal only.
        with console.status("waiting for the server") as status:
            # Rounds that were over before the first look are told at once, and say nothing about time.
            rounds = RoundPrinter(console, submitted.job, live, timed=False)

            def show(said: str) -> None:
                rounds.timed = True
                status.update(said)

            follow(session, job_id, on_status=live.telling(console.print), on_round=rounds, on_progress=show)
        stopped.advice = f"The job has ended. Fetch its result: {submitted.fetching}"
        result = fetch(session, job_id, out, overwrite=submitted.overwrite)
        # The last round may have been over between two looks at the server.
        rounds.tell_missed(result.rounds)
    except KeyboardInterrupt:
        live.leave(f"Nobody follows the job any more. {stopped.advice}")
        raise
    except FedginError as error:
        live.leave(error.problem)
        raise
    report_outcome(console, result, live)


def report_outcome(console: Console, result: RunResult, live: LivePage | None = None) -> None:
    """Write what :func:`write_result` writes for a result that stands in its folder.

    Args:
        console: to print to.
        result: the folder.
        live: the page of a job that was followed; it stays when there is nothing to report.

    Raises:
        ConsoleError: it is no success; a report is there all the same, if a round was recorded.
        FedginError: the folder is no result.
    """
    outcome = read_outcome(result)
    if outcome.fault and live is not None:
        live.leave(outcome.fault)
    write_result(console, outcome.job, outcome.job_id, result, fault=outcome.fault)
    outcome.check()


def write_result(
    console: Console, job: Job, job_id: str, result: RunResult, *, fault: str = "", kind: Kind = "federated"
) -> None:
    """Write report and provenance into the folder of a result, and print where report and model are.

    Args:
        console: the console to print to.
        job: as it ran.
        job_id: FLARE's.
        result: the result of a run; nothing is written of one that failed before its first round was over.
        fault: what keeps it from being a success; its model is not recommended then.
        kind: whether it ran in FLARE's simulator, which gives every job the same id: the folder's name stands for it.

    Of a job that evaluated a model it prints and writes the scores instead.
    """
    if job.experiment.collects:
        console.print(f"Fingerprints: {result.folder / COLLECTION}")
        return
    if job.evaluated:
        write_evaluation(console, job, job_id, result, fault=fault)
        return
    if fault and not result.participation:
        return
    from fedgin.report.job_page import write_run_report  # draws, with Matplotlib: not while a job runs for days

    run = job_id if kind == "federated" else result.folder.resolve().name
    try:
        write_provenance(result.folder, describe_job(job, run, result, fault=fault, kind=kind))
    except WeightsError:
        if not fault:
            raise
        # Nobody can say any more who trained the model; the fault tells why.
        (result.folder / PROVENANCE).unlink(missing_ok=True)
    report = write_run_report(result.folder / REPORT, job, job_id, result, fault=fault)
    console.print(f"Report: {report}" if fault else f"Model: {result.chosen_model}\nReport: {report}")


class RoundPrinter:
    """Prints a line for each round with an estimate of the time that the others need, and tells the live page of it.

    Args:
        console: to print to.
        job: that runs.
        live: its page.
        timed: whether rounds are told as they end; set it to true once they are.
    """

    def __init__(self, console: Console, job: Job, live: LivePage, *, timed: bool = True) -> None:
        self.live = live
        self.timed = timed
        self.told: set[int] = set()
        self.console = console
        self.total = job.first_round + job.rounds
        self.remaining = RemainingTime(self.total)

    def tell_missed(self, rounds: Sequence[RoundMetrics]) -> None:
        """Print the rounds that nobody was told of while the job ran."""
        self.timed = False
        missed = [metrics for metrics in rounds if metrics.number not in self.told]
        if missed:
            self.live.add(*missed)
        for metrics in missed:
            self._print(metrics)

    def __call__(self, metrics: RoundMetrics) -> None:
        """Print the line of a round that is complete, and renew the page."""
        self.live.add(metrics)
        self._print(metrics)

    def _print(self, metrics: RoundMetrics) -> None:
        self.told.add(metrics.number)
        dice = "  ".join(f"{one_line(site)} {value:.3f}" for site, value in metrics.dice.items())
        rest = left(self.remaining.step(metrics.number + 1)) if self.timed else ""
        self.console.print(f"round {metrics.number + 1}/{self.total}  validation Dice  {dice}  {rest}".rstrip())

"""``fedgin run``: submit a job to the federation, follow it, fetch model and report."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedgin.flare.console import check, connect, connected_sites, fetch, follow, submit
from fedgin.flare.job import Job, load_job
from fedgin.flare.results import RoundMetrics
from fedgin.study.run_report import write_run_report


def run(
    job: Annotated[Path, typer.Argument(help="Job folder, such as jobs/abdomen_fedgin.")],
    kit: Annotated[Path, typer.Option(help="Your unpacked console kit.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results. Default: runs/JOB.")] = None,
    follow_job: Annotated[str | None, typer.Option("--follow", help="Id of a job that runs already.")] = None,
) -> None:
    """Submit a job as `submit_job` of the console does, print each round with the Dice of every site, fetch the result.

    Ctrl-C leaves the job running; the message says how to follow it again.

    Example: fedgin run jobs/abdomen_fedgin --kit kits/lead@example.org
    """
    console = Console(highlight=False, soft_wrap=True)
    plan = load_job(job)
    target = out or Path("runs") / plan.name
    with connect(kit) as session:
        sites = connected_sites(session)
        console.print(f"connected sites: {', '.join(sites) or 'none'}; the job needs {plan.min_clients}")
        job_id = follow_job or submit(session, plan)
        console.print(f"job {job_id}")
        try:
            meta = follow(session, job_id, on_status=console.print, on_round=_RoundPrinter(console, plan))
        except KeyboardInterrupt:
            console.print(f"Left running. Follow it again: fedgin run {job} --kit {kit} --follow {job_id}")
            raise typer.Exit(130) from None
        result = fetch(session, job_id, target)
    # FLARE deploys a job to the sites that are connected when it starts, which may be others than when we asked.
    check(result, meta, plan, result.participation[0].expected if result.participation else sites)
    report = write_run_report(target / "report.html", plan, job_id, result)
    console.print(f"Model: {result.chosen_model}\nReport: {report}")


class _RoundPrinter:
    """Prints a line for each round; the estimate leaves out the first one, which contains FLARE's start."""

    def __init__(self, console: Console, job: Job) -> None:
        self.console = console
        self.rounds = job.rounds
        self.ends: list[float] = []

    def __call__(self, metrics: RoundMetrics) -> None:
        self.ends.append(time.monotonic())
        done = len(self.ends)
        left = ""
        if 1 < done < self.rounds:
            left = f"  about {(self.ends[-1] - self.ends[0]) / (done - 1) * (self.rounds - done):.0f} s left"
        dice = "  ".join(f"{site} {value:.3f}" for site, value in metrics.dice.items())
        self.console.print(f"round {metrics.number + 1}/{self.rounds}  validation Dice  {dice}{left}")

"""``fedgin demo``: compare one modality alone, FedAvg and FedGIN on built-in or own data."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fedgin.cli.interrupt import interruptible
from fedgin.cli.options import Quiet
from fedgin.cli.phantoms import write_demo_sites
from fedgin.cli.remaining import left as say_left
from fedgin.phantoms.task import Task

if TYPE_CHECKING:
    from fedgin.study.arms import Arm

PHANTOM_NOTE = (
    "The images are procedural phantoms, computed from anatomy rules and physics tables. "
    "They show that the system works and what it does; they say nothing about patients."
)

# Rounds, and samples of a step, of the default demonstrations.
OF_SLICES, OF_VOLUMES = (10, 8), (5, 2)


def demo(
    task: Annotated[Task, typer.Option(help="Which jobs, TASK_fedavg and TASK_fedgin, and phantoms.")] = Task.ABDOMEN,
    sites: Annotated[
        Path | None, typer.Option(help="Folder with one folder a site, each with a site.yaml. Default: phantoms.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for results; the same folder continues a run.")] = Path("runs/demo"),
    jobs: Annotated[Path | None, typer.Option(help="Folder with the jobs. Default: those of this package.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Rounds of every arm. Default: 10, or 5 of volumes.")
    ] = None,
    local_steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of a site in a round.")] = 20,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Samples in a step. Default: 8 slices, or 2 patches of volumes.")
    ] = None,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Train on volumes, with the job TASK_fedgin_3d; a step takes longer.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 42,
    quiet: Quiet = False,
) -> None:
    """Compare MR alone, CT alone, FedAvg and FedGIN on the same sites, and write one HTML report.

    CT alone never sees MR: it trains plain and with GIN. FedAvg and FedGIN run in the FLARE simulator.

    Ctrl-C stops it; the same command continues with the arm that was cut off.

    Example: fedgin demo --sites hospitals --rounds 20 --local-steps 40 --out runs/hospitals
    """
    from fedgin.folders import folder_to_itself

    console = Console(highlight=False, soft_wrap=True, quiet=quiet)
    usual_rounds, usual_batch = OF_VOLUMES if volumes else OF_SLICES
    with interruptible(console), folder_to_itself(out, "a demonstration"):
        data = sites or out / f"phantoms-{task}-seed-{seed}"
        if sites is None:
            write_demo_sites(data, task, seed, console)
        # Here, because they take seconds to import; the phantoms need none of it.
        from fedgin.report.comparison_page import write_comparison
        from fedgin.study.demo import DemoPlan, run_demo, shipped_jobs

        plan = DemoPlan(
            sites=data,
            task=task,
            jobs=jobs or shipped_jobs(),
            out=out,
            rounds=rounds or usual_rounds,
            local_steps=local_steps,
            batch_size=batch_size or usual_batch,
            seed=seed,
            title="FedGIN beside FedAvg and one modality alone" + ("" if sites else ", on phantoms"),
            note="Own data. Nothing was tuned on the test cases by this run." if sites else PHANTOM_NOTE,
            volumes=volumes,
        )
        report = write_comparison(out / "report.html", run_demo(plan, _Printer(console, plan.rounds)))
    console.print(f"Report: {report}")


class _Printer:
    """Prints a line for each event, with an estimate of the time that all arms still need."""

    def __init__(self, console: Console, rounds: int) -> None:
        self.console = console
        self.rounds = rounds
        self.started = time.monotonic()

    def preparing(self, site: str, done: int, total: int) -> None:
        if done in (1, total):
            self.console.print(f"{site}: preprocessed {done} of {total} cases")

    def arm_started(self, arm: "Arm") -> None:
        self.started = time.monotonic()
        self.console.print(f"[bold]{arm.title}[/]: {self.rounds} rounds of {arm.experiment.training.length}")

    def round_done(self, arm: "Arm", point: dict[str, float], left: float) -> None:
        dice = "  ".join(f"{modality} {value:.3f}" for modality, value in sorted(point.items()) if modality != "round")
        said = say_left(left)
        rest = f"  {said} for all arms" if said else ""
        self.console.print(
            f"  {arm.title}, {point['round']:>3.0f} of {self.rounds} rounds  validation Dice  {dice}{rest}"
        )

    def arm_done(self, arm: "Arm", *, resumed: bool) -> None:
        spent = time.monotonic() - self.started
        self.console.print(f"  {arm.title}: " + ("done by an earlier run" if resumed else f"done in {spent:.0f} s"))

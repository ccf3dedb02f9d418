"""``fedgin study``: run and report a comparison."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fedgin.cli.forecast import print_forecast
from fedgin.cli.interrupt import interruptible
from fedgin.cli.options import Quiet
from fedgin.cli.remaining import left as say_left

if TYPE_CHECKING:
    from fedgin.study.listener import Point
    from fedgin.study.plan import ArmSpec


def study(
    plan: Annotated[Path, typer.Argument(metavar="STUDY", help="The study.yaml.")],
    out: Annotated[Path, typer.Option(help="Folder for results; the same folder continues a study.")],
    cores: Annotated[int, typer.Option(min=1, help="Cores to use.")] = os.cpu_count() or 1,
    only: Annotated[list[str] | None, typer.Option(metavar="ARM", help="Run this arm only; may be repeated.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it takes, from a short probe; run nothing.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Run every arm of a study that is not complete yet, then write scores.csv, tables and report.html.

    Arms run side by side as cores allow, each in a process of its own. Ctrl-C stops them; the same command continues.
    The same command on further machines, with the same folder, shares the arms among them. With --dry-run it prints
    arms, steps, time, memory and disk.

    Example: fedgin study studies/abdomen.yaml --out runs/abdomen_study
    """
    if dry_run:
        from fedgin.study.forecast import forecast_study

        print_forecast(forecast_study(plan, out, cores=cores, only=only or ()), out, cores)
        return
    from fedgin.report.study_page import write_study
    from fedgin.study.runner import run_study

    console = Console(highlight=False, soft_wrap=True, quiet=quiet)
    with interruptible(console):
        results = run_study(plan, out, _Printer(console), cores=cores, only=only or ())
        report = write_study(plan, results, out)
    console.print(f"Scores: {out / 'scores.csv'}")
    console.print(f"Report: {report}")


class _Printer:
    """Prints a line for each event; lines of arms that run side by side are told apart by the arm's name."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.arms = self.ended_arms = 0

    def preparing(self, site: str, done: int, total: int) -> None:
        if done == total:
            self.console.print(f"{site}: {total} cases are ready")

    def left_out(self, site: str, organs: Sequence[str]) -> None:
        self.console.print(f"{site} takes no part in arms for {', '.join(organs)}: it does not label them")

    def untaught(self, arm: str, organs: Sequence[str]) -> None:
        self.console.print(f"{arm} has no {' or '.join(organs)}, which only the left-out site labels")

    def planned(self, arms: int, complete: int) -> None:
        self.arms, self.ended_arms = arms, complete
        self.console.print(f"{arms} arms, {complete} of them complete before")

    def started(self, spec: "ArmSpec") -> None:
        self.console.print(f"[bold]{spec.name}[/] started")

    def elsewhere(self, spec: "ArmSpec", machine: str) -> None:
        self.console.print(f"[bold]{spec.name}[/] runs in another call, on {machine}")

    def round_done(self, spec: "ArmSpec", point: "Point", rounds: int) -> None:
        dice = "  ".join(f"{modality} {value:.3f}" for modality, value in sorted(point.items()) if modality != "round")
        self.console.print(f"  {spec.name}, {point['round']:.0f} of {rounds} rounds  validation Dice  {dice}")

    def ended(self, spec: "ArmSpec", seconds: float, left: float, problem: str) -> None:
        self.ended_arms += 1
        said = say_left(left)
        rest = f", {said}" if said else ""
        outcome = f"[bold red]failed:[/] {problem}" if problem else f"done in {seconds:.0f} s"
        self.console.print(f"[bold]{spec.name}[/] {outcome}  ({self.ended_arms} of {self.arms} arms{rest})")

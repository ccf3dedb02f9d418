"""``fedgin phantoms``: write the built-in data."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fedgin.phantoms.task import Task

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def phantoms(
    out: Annotated[Path, typer.Argument(help="Folder to write the sites to.")],
    task: Annotated[Task, typer.Option(help="Region of the body.")] = Task.ABDOMEN,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers; the same seed writes the same voxels.")] = 42,
    dicom: Annotated[bool, typer.Option("--dicom", help="Write one new patient as a DICOM study instead.")] = False,
) -> None:
    """Write three sites of procedural phantoms (two CT, one MR with few cases) as NIfTI.

    They are computed from anatomy rules and physics tables; no patient data is in them. With --dicom: a CT and an MR
    series of a patient whom no site has, to segment with 'fedgin predict'.

    Example: fedgin phantoms runs/hearts --task heart --seed 42
    """
    console = Console(soft_wrap=True, highlight=False)
    if dicom:
        from fedgin.phantoms.dicom import write_study

        with Progress(*COLUMNS, console=console, transient=True) as progress:
            row = progress.add_task("writing the study", total=None)
            write_study(out, task, seed, progress=_show(progress, row))
        console.print(f"Study: {out}. Next: fedgin predict BUNDLE {out} --out segmented")
        return
    write_demo_sites(out, task, seed, console)
    console.print(f"Sites: {out}. Next: fedgin demo --task {task} --sites {out}")


def write_demo_sites(out: Path, task: Task, seed: int, console: Console) -> None:
    """Write a task's sites under ``out`` with a progress bar; subjects that are there already are kept."""
    from fedgin.phantoms.site import demo_sites, write_site

    with Progress(*COLUMNS, console=console, transient=True) as progress:
        for site in demo_sites(task, seed):
            row = progress.add_task(f"writing phantoms of {site.name}", total=None)
            write_site(out / site.name, site, _show(progress, row))


def _show(progress: Progress, row: TaskID) -> Callable[[int, int], None]:
    return lambda done, total: progress.update(row, completed=done, total=total)

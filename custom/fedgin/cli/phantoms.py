"""``fedgin phantoms``: write the built-in data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fedgin.errors import ConfigError
from fedgin.phantoms.task import Task

if TYPE_CHECKING:
    from fedgin.phantoms.subject import PhantomSite

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def phantoms(
    out: Annotated[Path, typer.Argument(help="Folder to write the sites to.")],
    task: Annotated[Task, typer.Option(help="Region of the body.")] = Task.ABDOMEN,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers; the same seed writes the same voxels.")] = 42,
    centres: Annotated[
        int | None, typer.Option(min=2, max=100, help="Write so many centres of the abdomen instead.")
    ] = None,
    dicom: Annotated[bool, typer.Option("--dicom", help="Write one new patient as a DICOM study instead.")] = False,
) -> None:
    """Write three sites of procedural phantoms (two CT, one MR with few cases) as NIfTI.

    They are computed from anatomy rules and physics tables; no patient data is in them. With --centres: CT and MR sites
    in turn that differ as hospitals do, in contrast phase or sequence and field strength, noise, bias field and slice
    thickness; each site.yaml states its scanner. With --dicom: a CT and an MR series of a patient whom no site has,
    to segment with 'fedgin predict'.

    Example: fedgin phantoms runs/hearts --task heart --seed 42

    Example: fedgin phantoms runs/centres --centres 6
    """
    console = Console(soft_wrap=True, highlight=False)
    if centres and (dicom or task is not Task.ABDOMEN):
        raise ConfigError("--centres are sites of the abdomen", "leave --dicom and --task out")
    if dicom:
        from fedgin.phantoms.dicom import write_study

        with Progress(*COLUMNS, console=console, transient=True) as progress:
            row = progress.add_task("writing the study", total=None)
            write_study(out, task, seed, progress=_show(progress, row))
        console.print(f"Study: {out}. Next: fedgin predict BUNDLE {out} --out segmented")
        return
    if centres:
        from fedgin.phantoms.site import centres as draw_centres

        _write_sites(out, draw_centres(centres, seed), console)
        console.print(f"Sites: {out}. Next: a study with leave_one_site_out, see docs/study.md")
        return
    write_demo_sites(out, task, seed, console)
    console.print(f"Sites: {out}. Next: fedgin demo --task {task} --sites {out}")


def write_demo_sites(out: Path, task: Task, seed: int, console: Console) -> None:
    """Write a task's sites under ``out`` with a progress bar; subjects that are there already are kept."""
    from fedgin.phantoms.site import demo_sites

    _write_sites(out, demo_sites(task, seed), console)


def _write_sites(out: Path, sites: "Sequence[PhantomSite]", console: Console) -> None:
    from fedgin.phantoms.site import write_site

    with Progress(*COLUMNS, console=console, transient=True) as progress:
        for site in sites:
            row = progress.add_task(f"writing phantoms of {site.name}", total=None)
            write_site(out / site.name, site, _show(progress, row))


def _show(progress: Progress, row: TaskID) -> Callable[[int, int], None]:
    return lambda done, total: progress.update(row, completed=done, total=total)

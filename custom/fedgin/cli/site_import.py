"""``fedgin site import``: from a public archive to sites."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedgin.errors import ConfigError

if TYPE_CHECKING:
    from fedgin.data.importers.archive_site import ArchiveSite


def import_(
    archive_format: Annotated[
        Literal["totalsegmentator", "amos22"],
        typer.Argument(metavar="FORMAT", help="totalsegmentator (CT or MRI) or amos22."),
    ],
    source: Annotated[Path, typer.Argument(help="Folder of the unpacked archive; it stays as it is.")],
    out: Annotated[Path, typer.Argument(help="Folder of the sites; the same folder continues a run.")],
    validation: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the patients, if the archive has no validation split.")
    ] = 0.2,
    test: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the patients, if the archive has no test labels.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the drawing of the splits.")] = 42,
) -> None:
    """Make sites of a public archive as it was unpacked. Images are linked, masks merged, nothing is copied.

    OUT gets one site a modality, such as OUT/amos22-ct. Splits are the archive's. One that it lacks is drawn from its
    training patients. Where masks overlap, a voxel goes to the smaller organ.

    nnU-Net and Decathlon folders, and images with labels beside them: fedgin site init.

    Example: fedgin site import amos22 /data/amos22 /data/sites
    """
    from fedgin.data.dicom.rules import SplitRules
    from fedgin.data.importers.amos22 import read_amos22
    from fedgin.data.importers.archive_site import write_archive_sites
    from fedgin.data.importers.totalsegmentator import read_totalsegmentator

    if not source.is_dir():
        raise ConfigError("SOURCE is no folder", "give the folder of the unpacked archive")
    archive = {"totalsegmentator": read_totalsegmentator, "amos22": read_amos22}[archive_format](source)
    rules = SplitRules(validation=validation, test=test, seed=seed)
    columns = (TextColumn("importing cases"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(archive.cases))
        sites = write_archive_sites(
            archive, out, rules, progress=lambda done, total: progress.update(task, completed=done, total=total)
        )
    console = Console(highlight=False, soft_wrap=True)
    for site in sites:
        _print(site, seed, console)
    if archive.unlabelled:
        console.print(f"[bold yellow]Note:[/] {archive.unlabelled} images have no label and are left out")
    for site in sites:
        console.print(f"Next: fedgin site validate {site.contract}")


def _print(site: "ArchiveSite", seed: int, console: Console) -> None:
    from fedgin.data.datalist import Split

    console.print(f"{site.contract.parent.name}: {len(site.labels)} organs")
    for split in Split:
        drawn = f", drawn by seed {seed}" if split in site.drawn else ""
        console.print(f"  {split.value:10} {site.cases[split]:5} cases{drawn}")
    if site.empty:
        console.print(f"[bold yellow]Note:[/] {site.empty} cases show no organ and are left out")
    if site.overlaps:
        console.print(
            f"[bold yellow]Note:[/] {site.overlaps} voxels are in several masks and went to the smaller organ"
        )

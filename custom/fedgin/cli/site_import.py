"""``fedgin site import``: from a public archive to sites."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedgin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedgin.data.importers.archive import Archive
    from fedgin.data.importers.archive_site import ArchiveSite

LISTED = 20


def import_(
    archive_format: Annotated[
        Literal["amos22", "btcv", "chaos", "decathlon", "mmwhs", "nnunet", "totalsegmentator"],
        typer.Argument(
            metavar="FORMAT", help="amos22, btcv, chaos, decathlon, mmwhs, nnunet or totalsegmentator (CT or MRI)."
        ),
    ],
    source: Annotated[Path, typer.Argument(help="Folder of the unpacked archive; it stays as it is.")],
    out: Annotated[Path, typer.Argument(help="Folder of the sites; the same folder continues a run.")],
    validation: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the patients, if the archive has no validation split.")
    ] = 0.2,
    test: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the patients, if the archive has no test labels.")
    ] = 0.2,
    splits: Annotated[
        Path | None, typer.Option(help="JSON of patient to training, validation or test, in place of the archive's.")
    ] = None,
    test_only: Annotated[
        bool, typer.Option("--test-only", help="Every case is a test case: of a site on which nothing is trained.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the drawing of the splits.")] = 42,
) -> None:
    """Make sites of a public archive as it was unpacked. NIfTI files are linked, not copied; masks are merged.

    OUT gets one site a modality, such as OUT/amos22-ct. Splits are the archive's. One that it lacks is drawn from its
    training patients. Where masks overlap, a voxel goes to the smaller organ.

    Other folders of images with labels beside them: fedgin site init.

    Example: fedgin site import amos22 /data/amos22 /data/sites
    """
    from fedgin.data.datalist import Split
    from fedgin.data.dicom.rules import SplitRules
    from fedgin.data.dicom.splits import read_splits
    from fedgin.data.importers.archive_site import write_archive_sites
    from fedgin.data.importers.readers import READERS

    if not source.is_dir():
        raise ConfigError("SOURCE is no folder", "give the folder of the unpacked archive")
    if test_only and splits:
        raise ConfigError("--test-only and --splits say two things", "give one of them")
    given = read_splits(splits) if splits else {}
    archive = READERS[archive_format](source)
    given |= {case.patient: Split.TEST for case in archive.cases if test_only}
    rules = SplitRules(validation=validation, test=test, seed=seed)
    columns = (TextColumn("importing cases"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(archive.cases))
        sites = write_archive_sites(
            archive,
            out,
            rules,
            given=given,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    _print(archive, sites, seed)


def _print(archive: "Archive", sites: "Sequence[ArchiveSite]", seed: int) -> None:
    from fedgin.data.importers.label_page import PAGE

    console = Console(highlight=False, soft_wrap=True)
    for site in sites:
        _print_site(site, seed, console)
    if archive.unlabelled:
        console.print(f"[bold yellow]Note:[/] {archive.unlabelled} images have no label and are left out")
    if archive.absent:
        absent = f"{len(archive.absent)} of the published cases are not there: {_listed(archive.absent)}"
        console.print(f"[bold yellow]Note:[/] {absent}")
    for site in sites:
        console.print(f"Look at: {site.contract.parent / PAGE}")
        console.print(f"Next: fedgin site validate {site.contract}")


def _listed(names: "Sequence[str]") -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _print_site(site: "ArchiveSite", seed: int, console: Console) -> None:
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

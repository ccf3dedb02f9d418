"""``fedgin site init``: from a folder of images and labels to a site."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedgin.errors import ConfigError

if TYPE_CHECKING:
    from fedgin.data.importers.site_draft import Draft

# Those of fedgin.data.site, whose import help must not wait for.
ModalityName = Literal["CT", "MR"]


def init(
    folder: Annotated[Path, typer.Argument(help="Folder of NIfTI or PNG images and their labels, in any depth.")],
    out: Annotated[Path | None, typer.Option(help="Where site.yaml and datalist.json go. Default: FOLDER.")] = None,
    site: Annotated[str | None, typer.Option(help="The site's name in the federation. Default: FOLDER's.")] = None,
    modality: Annotated[
        ModalityName | None, typer.Option(help="Default: by the intensities of the first image.")
    ] = None,
    pixel_mm: Annotated[float | None, typer.Option(help="Pixel size of PNG slices.")] = None,
    validation: Annotated[float, typer.Option(min=0.0, max=0.9, help="Share of the patients.")] = 0.2,
    test: Annotated[float, typer.Option(min=0.0, max=0.9, help="Share of the patients.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the drawing of the splits.")] = 42,
) -> None:
    """Write site.yaml and datalist.json for a folder of images and labels. Nothing is copied, nothing overwritten.

    Image and label belong together by name: ct_01 and seg_01, case_01 and case_01_seg, imagesTr/X and labelsTr/X.
    imagesTs with labelsTs stay test, imagesVa validation. Other splits are drawn by patient: look at 'patient' in
    datalist.json, which is taken from the names, too.

    Example: fedgin site init /data/abdomen --site hospital-a
    """
    from fedgin.data.dicom.rules import SplitRules
    from fedgin.data.importers.site_draft import Wishes, draft_site
    from fedgin.data.site import Modality

    if not folder.is_dir():
        raise ConfigError("FOLDER is no folder", "give the folder that holds images and labels")
    rules = SplitRules(validation=validation, test=test, seed=seed)
    name = site or re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("._-") or "site"
    columns = (TextColumn("reading labels"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        draft = draft_site(
            folder,
            out or folder,
            Wishes(name, rules, Modality(modality) if modality else None, pixel_mm),
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    _print(draft, out or folder, guessed=modality is None)


def _print(draft: "Draft", out: Path, *, guessed: bool) -> None:
    from fedgin.data.datalist import Split
    from fedgin.data.importers.folder_pairs import LEFT_OUT
    from fedgin.data.importers.site_draft import SITE
    from fedgin.data.label_values import shown

    console = Console(highlight=False, soft_wrap=True)
    contract = draft.contract
    console.print(f"{contract.site}: {contract.modality}{' by its intensities' if guessed else ''}")
    for split in Split:
        console.print(f"  {split.value:10} {draft.cases[split]:5} cases of {draft.patients[split]} patients")
    for count, what in (
        (draft.pairs.images_alone, "images have no label and are left out"),
        (draft.pairs.labels_alone, "labels have no image and are left out"),
        (draft.pairs.left_out, f"{LEFT_OUT}; what is in them is left out"),
        (draft.unreadable, "labels cannot be read; validation says why"),
    ):
        if count:
            console.print(f"[bold yellow]Note:[/] {count} {what}")
    if draft.unnamed:
        console.print(f"[bold yellow]Note:[/] name the ids {shown(draft.unnamed)} under 'labels' in {SITE}")
    console.print(f"Next: fedgin site validate {out / SITE}")

"""Lay out a CT and an MR site over folders of real cases: ``site.yaml`` files and their datalists.

The abdomen's folders hold BTCV and CHAOS, the heart's CHD68 and HVSMR-2.0, in the layouts of
:mod:`fedgin.data.importers.paired_files`. Nothing is copied: each ``site.yaml`` points at its folder.

    python poc/real_sites.py --ct DATA/abdomen_ct --mr DATA/abdomen_mr --out runs/real_sites
    fedgin demo --sites runs/real_sites --rounds 20 --out runs/real

Another site of the abdomen has MR slices in which the pancreas alone is labelled, from PanSegData: ``--pancreas``,
beside ``--mr`` or in its place.
"""

from pathlib import Path
from typing import Annotated

import typer

from fedgin.cli.fault import faults_told
from fedgin.data.importers.label_ids import BTCV_IDS, CHAOS_IDS, CHD68_IDS, HVSMR_IDS
from fedgin.data.importers.paired_files import FOLDS, PairedFolder, write_paired_site
from fedgin.data.site import Modality, PngSlices
from fedgin.phantoms.task import Task

# The slices have lost their pixel size: 0.44 mm lets their 512 pixels fill the field of view of the heart jobs.
# CT is axial with the patient's left on the left. MR is sagittal with the front on the right, which no value of 'axes'
# can say: read like CT, it has the left ventricle on the same side of the right one, and nothing more in common.
HEART_PNG = PngSlices(pixel_mm=0.44, axes="RP")
# These have lost it too: 0.74 mm makes the field of view 379 mm. The liver is on the right of the picture.
PANCREAS = PairedFolder(
    Modality.MR, {"pancreas": 1}, "*_img.png", training=14, validation=3, png=PngSlices(pixel_mm=0.74, axes="RP")
)
SOURCES = {
    Task.ABDOMEN: [
        PairedFolder(Modality.CT, BTCV_IDS, "ct_*.nii.gz", training=9, validation=1),
        PairedFolder(Modality.MR, CHAOS_IDS, "mr_*.nii.gz", training=3, validation=2),
    ],
    Task.HEART: [
        PairedFolder(Modality.CT, CHD68_IDS, "*_img.png", training=4, validation=1, png=HEART_PNG),
        PairedFolder(Modality.MR, HVSMR_IDS, "*_img.png", training=2, validation=1, png=HEART_PNG),
    ],
}


def main(
    ct: Annotated[Path, typer.Option(help="Folder of the CT cases.")],
    out: Annotated[Path, typer.Option(help="Folder to write the sites to.")],
    mr: Annotated[Path | None, typer.Option(help="Folder of the MR cases.")] = None,
    pancreas: Annotated[Path | None, typer.Option(help="Folder of MR slices of the pancreas, another site.")] = None,
    task: Annotated[Task, typer.Option(help="Which data the folders hold.")] = Task.ABDOMEN,
    seed: Annotated[int, typer.Option(help="Seed of the shuffle.")] = 42,
    fold: Annotated[
        int | None,
        typer.Option(min=1, max=FOLDS, help="Leave the test patients out and test on this third of the others."),
    ] = None,
) -> None:
    """Write OUT/ct-site and, as asked, OUT/mr-site and OUT/mr-pancreas-site, each with site.yaml and datalist.json."""
    if mr is None and pancreas is None:
        raise typer.BadParameter("give a folder of MR too: --mr or --pancreas")
    for source, data in zip(SOURCES[task], (ct, mr), strict=True):
        if data is not None:
            write_paired_site(out / f"{source.modality.lower()}-site", source, data, seed, fold=fold)
    if pancreas is not None:
        write_paired_site(out / "mr-pancreas-site", PANCREAS, pancreas, seed, fold=fold)


if __name__ == "__main__":
    with faults_told():
        typer.run(main)

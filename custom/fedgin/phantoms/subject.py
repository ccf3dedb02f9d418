"""Write one phantom subject: an image and its label file."""

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from fedgin.data.site import Modality
from fedgin.files import whole_file
from fedgin.phantoms.anatomy import rasterise
from fedgin.phantoms.ct import draw_ct_scan, render_ct
from fedgin.phantoms.grid import FloatArray, Grid, trunk_grid
from fedgin.phantoms.mr import Sequence, draw_mr_scan, render_mr
from fedgin.phantoms.region import REGIONS
from fedgin.phantoms.task import Task
from fedgin.seeds import derive_seed

IN_PLANE_MM = 2.0
SLICE_MM = {Modality.CT: (4.0, 5.0, 6.0), Modality.MR: (6.0, 7.0, 8.0)}
"""Slice thicknesses to choose from, in millimetres."""


def subject_rng(seed: int, site: str, modality: Modality, index: int, purpose: str) -> np.random.Generator:
    """Return the generator of one purpose of one subject; any other seed, site, modality or index gives another."""
    return np.random.default_rng(derive_seed(seed, "phantom", site, modality.value, index, purpose))


def write_subject(
    folder: Path,
    modality: Modality,
    site: str,
    index: int,
    seed: int,
    label_ids: dict[str, int],
    orientation: str = "LAS",
    sequence: Sequence = "t2w_spir",
    in_plane_mm: float = IN_PLANE_MM,
    task: Task = Task.ABDOMEN,
) -> tuple[Path, Path]:
    """Write one subject's image (int16: HU, or arbitrary MR units) and label (uint8), unless both exist already.

    Args:
        folder: receives ``images/phantom_abdomen_ct_001.nii.gz`` and ``labels/phantom_abdomen_ct_001_seg.nii.gz``, or
            the same with another task or modality.
        modality: CT or MR.
        site: name of the site; two sites never share a subject.
        index: number of the subject, from 1.
        seed: of the data set.
        label_ids: organ name to the id in the label file; organs left out are background.
        orientation: order and direction of the stored axes, as nibabel's axis codes.
        sequence: of an MR image; a CT has none.
        in_plane_mm: voxel size within the slice; the slice thickness is drawn from ``SLICE_MM``.
        task: which region of the body.

    Returns:
        The paths of image and label. A file appears only when it is complete.
    """
    name = f"phantom_{task}_{modality.lower()}_{index:03d}"
    image, label = folder / "images" / f"{name}.nii.gz", folder / "labels" / f"{name}_seg.nii.gz"
    if image.exists() and label.exists():
        return image, label
    intensities, tissues, grid = _make(task, sequence, in_plane_mm, (seed, site, modality, index))
    _save(REGIONS[task].label(tissues, grid, label_ids), grid, orientation, label)
    _save(np.rint(intensities).astype(np.int16), grid, orientation, image)
    return image, label


def _make(
    task: Task, sequence: Sequence, in_plane_mm: float, subject: tuple[int, str, Modality, int]
) -> tuple[FloatArray, NDArray[np.uint8], Grid]:
    """Return intensities, tissue codes and grid; each has its own generator, so one never shifts the others."""
    region, modality = REGIONS[task], subject[2]
    grid = trunk_grid(in_plane_mm, float(subject_rng(*subject, "grid").choice(SLICE_MM[modality])))
    tissues = rasterise(region.draw(subject_rng(*subject, "anatomy")), grid)
    rng = subject_rng(*subject, "scan")
    if modality is Modality.CT:
        table = region.attenuation(rng)
        return render_ct(tissues, grid, draw_ct_scan(rng, grid.spacing[2]), table, rng), tissues, grid
    scan = draw_mr_scan(rng, sequence)
    return render_mr(tissues, grid, scan, region.relaxation(rng), region.bright, rng), tissues, grid


def _save(volume: NDArray[np.int16] | NDArray[np.uint8], grid: Grid, orientation: str, path: Path) -> None:
    """Store a RAS volume with its axes turned to ``orientation``; the affine keeps every voxel at its place."""
    image = nib.Nifti1Image(volume, grid.affine())
    turn = orientations.ornt_transform(
        orientations.axcodes2ornt(("R", "A", "S")), orientations.axcodes2ornt(tuple(orientation))
    )
    stored = image.as_reoriented(turn)
    stored.header["descrip"] = "FedGIN procedural phantom, not a patient"
    stored.header.set_xyzt_units("mm")
    stored.set_sform(stored.affine, code="scanner")
    stored.set_qform(stored.affine, code="scanner")
    with whole_file(path) as part:
        nib.save(stored, part)

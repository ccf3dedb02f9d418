"""Write one phantom subject of a site: an image and its label file."""

from dataclasses import dataclass, replace
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
from fedgin.phantoms.mr import MrScan, Sequence, draw_mr_scan, render_mr
from fedgin.phantoms.region import REGIONS, Region
from fedgin.phantoms.scanner import Scanner
from fedgin.phantoms.scanner_tissues import CT_PHASES, MR_BY_TESLA
from fedgin.phantoms.task import Task
from fedgin.seeds import derive_seed

IN_PLANE_MM = 2.0
SLICE_MM = {Modality.CT: (4.0, 5.0, 6.0), Modality.MR: (6.0, 7.0, 8.0)}
"""Slice thicknesses to choose from, in millimetres."""


@dataclass(frozen=True)
class PhantomSite:
    """One site: how many subjects per split, and how it stores and numbers them.

    Attributes:
        name: the name of the site; two sites never share a subject.
        modality: CT or MR.
        training: subjects for training.
        validation: subjects for validation.
        test: subjects for the test.
        seed: the seed of the data set.
        label_ids: organ name to the id in the label files; organs left out are background.
        orientation: order and direction of the stored axes, as nibabel's axis codes.
        sequence: the sequence of MR images; a CT has none.
        in_plane_mm: voxel size within the slice; the slice thickness is drawn from ``SLICE_MM``.
        task: which region of the body.
        scanner: of a centre of its own, for the abdomen; ``None`` draws a scan of the demo for each subject.
    """

    name: str
    modality: Modality
    training: int
    validation: int
    test: int
    seed: int
    label_ids: dict[str, int]
    orientation: str = "LAS"
    sequence: Sequence = "t2w_spir"
    in_plane_mm: float = IN_PLANE_MM
    task: Task = Task.ABDOMEN
    scanner: Scanner | None = None


def subject_rng(seed: int, site: str, modality: Modality, index: int, purpose: str) -> np.random.Generator:
    """Return the generator of one purpose of one subject; any other seed, site, modality or index gives another."""
    return np.random.default_rng(derive_seed(seed, "phantom", site, modality.value, index, purpose))


def write_subject(folder: Path, site: PhantomSite, index: int) -> tuple[Path, Path]:
    """Write one subject's image (int16: HU, or arbitrary MR units) and label (uint8), unless both exist already.

    Args:
        folder: receives ``images/phantom_abdomen_ct_001.nii.gz`` and ``labels/phantom_abdomen_ct_001_seg.nii.gz``, or
            the same with another task or modality.
        site: the site to which the subject belongs; two sites never share one.
        index: number of the subject, from 1.

    Returns:
        The paths of image and label. A file appears only when it is complete.
    """
    name = f"phantom_{site.task}_{site.modality.lower()}_{index:03d}"
    image, label = folder / "images" / f"{name}.nii.gz", folder / "labels" / f"{name}_seg.nii.gz"
    if image.exists() and label.exists():
        return image, label
    intensities, tissues, grid = _make(site, index)
    _save(REGIONS[site.task].label(tissues, grid, site.label_ids), grid, site.orientation, label)
    _save(np.rint(intensities).astype(np.int16), grid, site.orientation, image)
    return image, label


def _make(site: PhantomSite, index: int) -> tuple[FloatArray, NDArray[np.uint8], Grid]:
    """Return intensities, tissue codes and grid; each has its own generator, so one never shifts the others."""
    region, subject = REGIONS[site.task], (site.seed, site.name, site.modality, index)
    thickness = float(subject_rng(*subject, "grid").choice(SLICE_MM[site.modality]))
    grid = trunk_grid(site.in_plane_mm, site.scanner.slice_mm if site.scanner else thickness)
    tissues = rasterise(region.draw(subject_rng(*subject, "anatomy")), grid)
    rng = subject_rng(*subject, "scan")
    if site.scanner:
        return _scan_by(site.scanner, region, tissues, grid, rng), tissues, grid
    if site.modality is Modality.CT:
        return scan_ct(region, tissues, grid, rng), tissues, grid
    return scan_mr(region, tissues, grid, draw_mr_scan(rng, site.sequence), rng), tissues, grid


def _scan_by(
    scanner: Scanner, region: Region, tissues: NDArray[np.uint8], grid: Grid, rng: np.random.Generator
) -> FloatArray:
    """Return what a centre's scanner makes of tissues [X, Y, Z]."""
    if scanner.modality is Modality.CT:
        ct = draw_ct_scan(rng, grid.spacing[2])
        return render_ct(
            tissues, grid, replace(ct, noise_hu=ct.noise_hu * scanner.noise), CT_PHASES[scanner.phase], rng
        )
    mr = draw_mr_scan(rng, scanner.sequence)
    own = replace(mr, noise=mr.noise * scanner.noise, shading=mr.shading * scanner.shading, tesla=scanner.tesla)
    return render_mr(tissues, grid, own, MR_BY_TESLA[scanner.tesla], region.bright, rng)


def scan_ct(region: Region, tissues: NDArray[np.uint8], grid: Grid, rng: np.random.Generator) -> FloatArray:
    """Return a CT [X, Y, Z] of tissues in Hounsfield units, with a scan of its own."""
    table = region.attenuation(rng)
    return render_ct(tissues, grid, draw_ct_scan(rng, grid.spacing[2]), table, rng)


def scan_mr(
    region: Region, tissues: NDArray[np.uint8], grid: Grid, scan: MrScan, rng: np.random.Generator
) -> FloatArray:
    """Return an MR [X, Y, Z] of tissues in arbitrary units."""
    return render_mr(tissues, grid, scan, region.relaxation(rng), region.bright, rng)


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

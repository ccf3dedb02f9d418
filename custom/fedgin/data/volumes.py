"""Read the image and the label of a case and refuse what cannot be right before anything is computed from it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
from numpy.typing import NDArray

from fedgin.data.datalist import Case
from fedgin.data.label_values import as_label_ids
from fedgin.data.nifti_file import NIFTI_ENDINGS, open_nifti, read_voxels
from fedgin.data.nifti_header import NOTHING_TO_SAY, HeaderCheck, check_header, largest_distance_mm, length_unit
from fedgin.data.png_file import read_pixels
from fedgin.data.site import Modality, ids_of
from fedgin.errors import DataError

# Two grids are one when no voxel corner differs by more than this; NIfTI stores affines in single precision.
GRID_TOLERANCE_MM = 0.01
# Four times a CT of the whole body in slices of 512 x 512.
LARGEST_VOLUME = 2**30
# Fat is near -100 HU and every abdomen, thorax or head has some, or air; magnitude MR has no such values.
HU_LIKE_BELOW = -50
HU_LIKE_SHARE = 0.002


@dataclass(frozen=True)
class Volume:
    """A three-dimensional array and its place.

    Attributes:
        voxels: [X, Y, Z].
        affine: 4x4, maps indices to RAS+ millimetres.
        header: what is to be said about the header that the affine was read from.
    """

    voxels: NDArray[np.generic]
    affine: NDArray[np.float64]
    header: HeaderCheck = NOTHING_TO_SAY

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Distance of neighbouring voxels along each axis in mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)


def read_image(case: Case) -> Volume:
    """Read the image of a case as float32.

    Raises:
        DataError: unreadable, not three-dimensional, a header that contradicts itself, NaN or infinite voxels,
            constant, or intensities that contradict the site's modality.
    """
    volume = load_volume(case, "image")
    refuse_contradiction(f"{case}: the image", volume)
    voxels = np.asarray(volume.voxels, dtype=np.float32)
    refuse_not_finite(case, voxels)
    refuse_constant(case, voxels)
    refuse_wrong_modality(case, voxels)
    return Volume(voxels, volume.affine)


def read_label(case: Case) -> Volume:
    """Read the label of a case as uint8, in the site's own ids and in the order of axes of its own file.

    Raises:
        DataError: unreadable, not three-dimensional, a header that contradicts itself, values that are no ids, or ids
            that ``site.yaml`` does not name.
    """
    volume = load_volume(case, "label")
    refuse_contradiction(f"{case}: the label", volume)
    return Volume(as_label_ids(case, volume.voxels), volume.affine)


def read_pair(case: Case) -> tuple[Volume, Volume]:
    """Read image and label, the label with the axes of the image, and check that they lie on one grid.

    Raises:
        DataError: as :func:`read_image` and :func:`read_label`, or different shapes or geometries.
    """
    image = read_image(case)
    label = with_axes_of(image.affine, read_label(case))
    refuse_two_grids(case, image, label)
    return image, label


def load_volume(case: Case, role: Literal["image", "label"]) -> Volume:
    """Read the image or the label of a case in the data type of its file; only its form is checked.

    Raises:
        DataError: neither NIfTI in one file nor PNG, unreadable, not one number a voxel, neither two- nor
            three-dimensional, or without valid geometry.
    """
    path, what = case.image if role == "image" else case.label, f"{case}: the {role}"
    if path.suffix.lower() == ".png":
        return _checked_form(_read_png(case, path, what), what)
    if not path.name.lower().endswith(NIFTI_ENDINGS):
        # Such as .hdr, whose voxels are in a second file: no hash would notice that they changed.
        raise DataError(f"{what} file ends in none of {', '.join((*NIFTI_ENDINGS, '.png'))}", "convert it to NIfTI")
    return load_nifti(path, what)


def load_nifti(path: Path, what: str) -> Volume:
    """Read a NIfTI file in the data type of the file; only its form is checked.

    Args:
        path: the file.
        what: it is, as an error names it: "the image".

    Raises:
        DataError: as :func:`load_volume`.
    """
    try:
        image = open_nifti(path)
        size = math.prod(image.shape)
    except Exception:  # nibabel raises many kinds; all mean the same to the reader, and their texts quote the path
        raise DataError(f"{what} file is not readable as NIfTI", "write the file again") from None
    if size > LARGEST_VOLUME:
        # Before a voxel is read: a file of a few kilobytes can hold gigabytes of zeros.
        raise DataError(
            f"{what} says it has {_by(image.shape)} voxels, more than {LARGEST_VOLUME:,}",
            "cut the volume to the region of the task, or correct the header",
        )
    if (unit := length_unit(image.header)) != "mm":
        raise DataError(
            f"{what} counts in {unit} by its header, where millimetres are needed",
            "write it in millimetres; correct xyzt_units alone where the spacing is in millimetres already",
        )
    try:
        affine = np.asarray(image.affine, dtype=np.float64)
        volume = Volume(read_voxels(image, path), affine, check_header(image.header, image.shape))
    except Exception:  # as above
        raise DataError(f"{what} file is not readable as NIfTI", "write the file again") from None
    return _checked_form(volume, what)


def _checked_form(volume: Volume, what: str) -> Volume:
    """Return a volume with three axes, or refuse what has no such form."""
    voxels, affine = volume.voxels, volume.affine
    if voxels.dtype.kind not in "iuf":
        raise DataError(f"{what} holds colours or complex numbers", "export one number a voxel")
    if voxels.ndim == 2 or set(voxels.shape[3:]) == {1}:  # many tools write one time point as a fourth axis
        voxels = voxels.reshape((*voxels.shape, 1)[:3])
    if voxels.ndim != 3 or 0 in voxels.shape:
        raise DataError(
            f"{what} has {_by(voxels.shape)} voxels; two or three axes are needed",
            "export one slice or one 3D volume",
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise DataError(f"{what} has no valid geometry in its header", "export it with its geometry")
    return Volume(voxels, affine, volume.header)


def _read_png(case: Case, path: Path, what: str) -> Volume:
    """Read a grey slice with the pixel size and directions that the site states."""
    if case.png is None:
        raise DataError(f"{case}: PNG slices carry no pixel size", "give 'png: {pixel_mm: ...}' in site.yaml")
    try:
        voxels = read_pixels(path)
    except Exception:  # as many kinds as with NIfTI
        raise DataError(f"{what} file is not readable as PNG", "write the file again") from None
    if voxels.ndim != 2:
        raise DataError(f"{what} is a colour picture", "export grey PNG slices, labels as plain ids")
    right, front = ({"R": 1, "A": 1, "L": -1, "P": -1}[letter] * case.png.pixel_mm for letter in case.png.axes)
    return Volume(voxels.T, np.diag([right, front, 1.0, 1.0]))


def refuse_contradiction(what: str, volume: Volume) -> None:
    """Raise :class:`DataError` when the header states two spacings, or two directions of an axis."""
    if volume.header.contradiction:
        raise DataError(
            f"{what} has a header that contradicts itself: {volume.header.contradiction}",
            "export it from the original series; programs that read the other statement see another patient",
        )


def refuse_not_finite(case: Case, voxels: NDArray[Any]) -> None:
    """Raise :class:`DataError` when an image [X, Y, Z] has NaN or infinite voxels."""
    if np.issubdtype(voxels.dtype, np.integer):
        return
    finite = np.isfinite(voxels)
    if not finite.all():
        count = int(finite.size - np.count_nonzero(finite))
        raise DataError(f"{case}: {count} voxels of the image are NaN or infinite", "export the series again")


def refuse_constant(case: Case, voxels: NDArray[Any]) -> None:
    """Raise :class:`DataError` when all voxels of an image [X, Y, Z] are equal."""
    if voxels.min() == voxels.max():
        raise DataError(f"{case}: every voxel of the image has the same value", "export the series again")


def refuse_wrong_modality(case: Case, voxels: NDArray[Any]) -> None:
    """Raise :class:`DataError` when the intensities of an image [X, Y, Z] contradict the site's modality."""
    hu_like = is_hu_like(voxels)
    if case.modality is Modality.MR and hu_like:
        raise DataError(f"{case}: declared as MR, but the intensities look like Hounsfield units (CT)", _MODALITY_FIX)
    if case.in_hounsfield_units and not hu_like:
        raise DataError(
            f"{case}: declared as CT, but no voxel is as dark as fat or air in Hounsfield units", _MODALITY_FIX
        )


def with_axes_of(affine: NDArray[np.float64], volume: Volume) -> Volume:
    """Order and direct the axes of a volume like those of another affine (4x4); no voxel is interpolated."""
    turns = nibabel.orientations.io_orientation(np.linalg.inv(affine) @ volume.affine)
    back = nibabel.orientations.inv_ornt_aff(turns, volume.voxels.shape)
    turned = nibabel.orientations.apply_orientation(volume.voxels, turns)
    return Volume(turned, volume.affine @ back, volume.header)


def refuse_two_grids(case: Case, image: Volume, label: Volume) -> None:
    """Raise :class:`DataError` when image and label differ in shape, or in position by over ``GRID_TOLERANCE_MM``."""
    if image.voxels.shape != label.voxels.shape:
        raise DataError(
            f"{case}: image is {_by(image.voxels.shape)} voxels, label is {_by(label.voxels.shape)}",
            "export the label on the grid of the image",
        )
    offset = grid_distance_mm(image, label)
    if offset > GRID_TOLERANCE_MM:
        raise DataError(
            f"{case}: image and label are up to {offset:.2f} mm apart (tolerance {GRID_TOLERANCE_MM} mm)",
            "export the label on the grid of the image; do not edit headers by hand",
        )


def map_organs(case: Case, label: Volume, organs: list[str]) -> NDArray[np.uint8]:
    """Renumber the site's ids to positions in ``organs`` plus 1; organs the experiment does not name become 0."""
    table = np.zeros(256, dtype=np.uint8)
    for position, organ in enumerate(organs, start=1):
        if organ in case.label_ids:
            table[list(ids_of(case.label_ids[organ]))] = position
    return np.asarray(table[label.voxels])


def grid_distance_mm(first: Volume, second: Volume) -> float:
    """Return the largest distance in mm between the same corner of two grids of equal shape."""
    return largest_distance_mm(first.affine, second.affine, first.voxels.shape)


def is_hu_like(voxels: NDArray[Any]) -> bool:
    """Tell whether intensities look like Hounsfield units: some voxels are as dark as fat or air."""
    return int(np.count_nonzero(voxels < HU_LIKE_BELOW)) >= HU_LIKE_SHARE * voxels.size


_MODALITY_FIX = "correct 'modality' in site.yaml, or export CT with its rescale slope and intercept applied"


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)

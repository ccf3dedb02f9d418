"""Read the image and the label of a case and refuse what cannot be right before anything is computed from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedgin.data.datalist import Case
from fedgin.data.site import Modality, ids_of
from fedgin.errors import DataError

# Two grids are one when no voxel corner differs by more than this; NIfTI stores affines in single precision.
GRID_TOLERANCE_MM = 0.01
# Fat is near -100 HU and every abdomen, thorax or head has some, or air; magnitude MR has no such values.
HU_LIKE_BELOW = -50
HU_LIKE_SHARE = 0.002


@dataclass(frozen=True)
class Volume:
    """Voxels [X, Y, Z] and the affine (4x4, float64) that maps their indices to RAS+ millimetres."""

    voxels: NDArray[np.generic]
    affine: NDArray[np.float64]

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
        DataError: unreadable, not three-dimensional, NaN or infinite voxels, constant, or intensities that contradict
            the site's modality.
    """
    volume = load_volume(case, "image")
    voxels = np.asarray(volume.voxels, dtype=np.float32)
    refuse_not_finite(case, voxels)
    refuse_constant(case, voxels)
    refuse_wrong_modality(case, voxels)
    return Volume(voxels, volume.affine)


def read_label(case: Case) -> Volume:
    """Read the label of a case as uint8, in the site's own ids.

    Raises:
        DataError: unreadable, not three-dimensional, values that are no ids, or ids that ``site.yaml`` does not name.
    """
    volume = load_volume(case, "label")
    return Volume(as_label_ids(case, volume.voxels), volume.affine)


def read_pair(case: Case) -> tuple[Volume, Volume]:
    """Read image and label and check that they lie on one grid.

    Raises:
        DataError: as :func:`read_image` and :func:`read_label`, or different shapes or geometries.
    """
    image, label = read_image(case), read_label(case)
    refuse_two_grids(case, image, label)
    return image, label


def load_volume(case: Case, role: Literal["image", "label"]) -> Volume:
    """Read the image or the label of a case in the data type of its file; only its form is checked.

    Raises:
        DataError: unreadable, not one number a voxel, neither two- nor three-dimensional, or without valid geometry.
    """
    path = case.image if role == "image" else case.label
    voxels, affine = _read_png(case, path, role) if path.suffix.lower() == ".png" else _read_nifti(case, path, role)
    if voxels.dtype.kind not in "iuf":
        raise DataError(f"{case}: the {role} holds colours or complex numbers", "export one number a voxel")
    if voxels.ndim == 2:
        voxels = voxels[:, :, None]
    if voxels.ndim != 3 or 0 in voxels.shape:
        raise DataError(
            f"{case}: the {role} has {_by(voxels.shape)} voxels; two or three axes are needed",
            "export one slice or one 3D volume",
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise DataError(f"{case}: the {role} has no valid geometry in its header", "export it with its geometry")
    return Volume(voxels, affine)


def _read_nifti(case: Case, path: Path, role: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    try:
        image = nibabel.load(path)
        return np.asanyarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)
    except Exception:  # nibabel raises many kinds; all mean the same to the reader, and their texts quote the path
        raise DataError(f"{case}: the {role} file is not readable as NIfTI", "write the file again") from None


def _read_png(case: Case, path: Path, role: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read a grey slice with the pixel size and directions that the site states."""
    if case.png is None:
        raise DataError(f"{case}: PNG slices carry no pixel size", "give 'png: {pixel_mm: ...}' in site.yaml")
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            voxels = np.array(picture)
    except Exception:  # as many kinds as with NIfTI
        raise DataError(f"{case}: the {role} file is not readable as PNG", "write the file again") from None
    if voxels.ndim != 2:
        raise DataError(f"{case}: the {role} is a colour picture", "export grey PNG slices, labels as plain ids")
    right, front = ({"R": 1, "A": 1, "L": -1, "P": -1}[letter] * case.png.pixel_mm for letter in case.png.axes)
    return voxels.T, np.diag([right, front, 1.0, 1.0])


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


def as_label_ids(case: Case, voxels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a label [X, Y, Z] as uint8.

    Raises:
        DataError: values that are no ids, or ids that ``site.yaml`` does not name.
    """
    with np.errstate(invalid="ignore"):  # NaN becomes some id here and differs from itself below
        ids = np.asarray(voxels, dtype=np.uint8)
    known = {0, *(label for organ in case.label_ids.values() for label in ids_of(organ))}
    exact = ids is voxels or np.array_equal(ids, voxels)
    present = np.flatnonzero(count_ids(ids)) if exact else np.unique(voxels)
    strangers = [float(value) for value in present if float(value) not in known]
    if strangers:
        shown = ", ".join(f"{value:g}" for value in strangers[:5])
        raise DataError(
            f"{case}: the label holds ids that are not in the site's label map: {shown}",
            "name them under 'labels' in site.yaml, or correct the label file",
        )
    return ids


def count_ids(ids: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many voxels each id from 0 to 255 has.

    Most of a label is background, so eight voxels at a time are dropped before anything is counted: that is eight times
    faster than counting all of them, and twenty-five times faster than ``np.unique``.
    """
    flat = ids.ravel(order="K")
    words = flat[: flat.size // 8 * 8].view(np.uint64)
    rest = flat[words.size * 8 :]
    counts = np.bincount(words[words != 0].view(np.uint8), minlength=256) + np.bincount(rest, minlength=256)
    counts[0] = flat.size - counts[1:].sum()
    return counts


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
    corners = np.array(np.meshgrid(*([0, size - 1] for size in first.voxels.shape[:3]), indexing="ij")).reshape(3, -1)
    homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(((first.affine - second.affine) @ homogeneous)[:3], axis=0).max())


def is_hu_like(voxels: NDArray[Any]) -> bool:
    """Tell whether intensities look like Hounsfield units: some voxels are as dark as fat or air."""
    return int(np.count_nonzero(voxels < HU_LIKE_BELOW)) >= HU_LIKE_SHARE * voxels.size


_MODALITY_FIX = "correct 'modality' in site.yaml, or export CT with its rescale slope and intercept applied"


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)

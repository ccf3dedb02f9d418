"""What a NIfTI header says about the place of its voxels: once, twice with a contradiction, or not at all."""

from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from nibabel.analyze import AnalyzeHeader
from nibabel.quaternions import mat2quat
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

# Two statements of one spacing agree within this share of it; scanners round to three digits.
SPACING_TOLERANCE = 0.01
# Axes that point further apart than this lead to another side of the body, or to another axis.
LARGEST_TURN_DEGREES = 45.0
# Two statements of one place may differ by this: programs complete a rounded quaternion each in its own way, and so
# place voxels up to half of it apart.
APART_MM = 1.0
# How much longer than 1 a quaternion may be, squared; tools write it rounded.
LONGER = 1e-5
# What the rounding of three numbers to float32 can add to the square of a length of 1.
ROUNDING = 1.1e-7


@dataclass(frozen=True)
class HeaderCheck:
    """What is to be said about a header; the default is that of a header that states one place.

    Attributes:
        contradiction: how two statements of spacing or side differ; empty when they agree.
        unset: neither ``sform`` nor ``qform`` is set, so that sides and position are a guess.
        apart_mm: largest distance between the places that ``sform`` and ``qform`` give to one voxel, where they agree
            in spacing and side.
    """

    contradiction: str = ""
    unset: bool = False
    apart_mm: float = 0.0


NOTHING_TO_SAY = HeaderCheck()


class _RoundedHeader(nibabel.Nifti1Header):
    """Completes the quaternion, of whose four numbers a header stores three, rounded.

    The first is the root of what the others leave of 1. Near half a turn, which leads from DICOM's sides to NIfTI's,
    their rounding hides it. Within that rounding it is the sform's; nibabel takes 0, for a turn of up to 0.07 degrees.
    """

    first = 0.0

    def get_qform_quaternion(self) -> NDArray[np.float64]:
        stored = np.array([self[f"quatern_{name}"] for name in "bcd"], dtype=np.float64)
        left = 1.0 - stored @ stored
        if not left >= -LONGER:  # it may be NaN
            raise ValueError("longer than 1")
        low, high = np.sqrt(np.maximum([left - ROUNDING, left + ROUNDING], 0.0))
        return np.r_[np.clip(self.first, low, high), stored]


def check_header(header: Any, shape: tuple[int, ...]) -> HeaderCheck:
    """Compare what a header states in its ``sform``, its ``qform`` and its ``pixdim``.

    Formats with one statement only, such as MGH, have nothing to compare. Axes with one voxel are not compared.
    """
    if not isinstance(header, AnalyzeHeader):
        return NOTHING_TO_SAY
    if not isinstance(header, nibabel.Nifti1Header):
        return HeaderCheck(unset=True)
    with np.errstate(all="ignore"):  # a header may hold any number; what is not finite agrees with nothing
        return _check_nifti(header, shape)


def length_unit(header: Any) -> str:
    """Return the unit of length that a header states: ``mm``, also where it states none, ``metres`` or ``micrometres``.

    ITK converts to millimetres, nibabel does not.
    """
    code = int(header["xyzt_units"]) % 8 if isinstance(header, nibabel.Nifti1Header) else 0
    return {1: "metres", 3: "micrometres"}.get(code, "mm")


def _check_nifti(header: nibabel.Nifti1Header, shape: tuple[int, ...]) -> HeaderCheck:
    sform, _ = header.get_sform(coded=True)
    header = _RoundedHeader.from_header(header)
    header.first = _first_of_quaternion(sform)
    try:
        qform, _ = header.get_qform(coded=True)
    except (HeaderDataError, ValueError):  # the second for a quaternion that is longer than 1
        return HeaderCheck(contradiction="its qform is no rotation")
    if sform is None:
        return HeaderCheck(unset=qform is None)  # a qform takes its spacing from pixdim
    axes = [axis for axis, size in enumerate(shape[:3]) if size > 1]
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    contradiction = _other_spacing(sform, pixdim, axes)
    if not contradiction and qform is not None:
        contradiction = _other_side(sform, qform, axes)
    if contradiction or qform is None:
        return HeaderCheck(contradiction)
    return HeaderCheck(apart_mm=largest_distance_mm(sform, qform, shape))


def _first_of_quaternion(form: NDArray[Any] | None) -> float:
    if form is None:
        return 0.0
    turn = form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0)
    if not np.isfinite(turn).all():
        return 0.0
    turn[:, 2] *= np.sign(np.linalg.det(turn))
    return float(abs(mat2quat(turn)[0]))


def largest_distance_mm(first: NDArray[Any], second: NDArray[Any], shape: tuple[int, ...]) -> float:
    """Return the largest distance in mm between the places that two affines (4x4) give to one corner of a grid."""
    corners = np.array(np.meshgrid(*([0, size - 1] for size in shape[:3]), indexing="ij")).reshape(len(shape[:3]), -1)
    homogeneous = np.vstack([corners, np.zeros((3 - len(corners), corners.shape[1])), np.ones(corners.shape[1])])
    return float(np.linalg.norm(((first - second) @ homogeneous)[:3], axis=0).max())


def _other_spacing(sform: NDArray[Any], pixdim: NDArray[np.float64], axes: list[int]) -> str:
    spacing = np.linalg.norm(sform[:3, :3], axis=0)
    if np.allclose(spacing[axes], pixdim[axes], rtol=SPACING_TOLERANCE, atol=0.0):
        return ""
    return f"its sform has voxels of {_by(spacing)} mm, its pixdim says {_by(pixdim)} mm"


def _other_side(sform: NDArray[Any], qform: NDArray[Any], axes: list[int]) -> str:
    first, second = (form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0) for form in (sform, qform))
    turns = np.degrees(np.arccos(np.clip((first * second).sum(axis=0), -1.0, 1.0)))[axes]
    if (turns <= LARGEST_TURN_DEGREES).all():
        return ""
    names = ["".join(nibabel.aff2axcodes(form)) for form in (sform, qform)]
    return f"its sform says that the axes lead to {names[0]}, its qform to {names[1]} ({turns.max():.0f} degrees apart)"


def _by(sizes: NDArray[Any]) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes)

"""What is measured of one case: numbers small enough to keep for every case of a large site."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from fedgin.data.datalist import Case
from fedgin.data.label_values import count_ids
from fedgin.data.site import ids_of
from fedgin.data.validation.content import hash_voxels
from fedgin.data.volumes import Volume

PERCENTILES = (0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5)
# Percentiles, centres and the hash are taken over every fourth voxel in plane of every second slice: over all voxels
# they would take longer than reading the file, and they would tell nothing more.
STEP = (4, 4, 2)
# Of a label: 0 to 255.
IDS = 256


@dataclass(frozen=True)
class ImageFacts:
    """One image.

    Attributes:
        shape: voxels along the file's axes.
        axes: where the file's axes point, such as ``LAS``.
        spacing_mm: along the RAS+ axes.
        extent: voxels along the RAS+ axes.
        percentiles: intensities at :data:`PERCENTILES`.
        content: hash of the voxels: equal for one image in two files of whatever type and axis order.
    """

    shape: tuple[int, ...]
    axes: str
    spacing_mm: tuple[float, ...]
    extent: tuple[int, ...]
    percentiles: tuple[float, ...]
    content: bytes


@dataclass(frozen=True)
class LabelFacts:
    """One label.

    Attributes:
        organ_ml: volume in ml of each organ that the site's map names; 0 when the case does not show it.
        organ_right_mm: position of each shown organ's centre, in mm to the patient's right of the grid's centre.
        is_slice: whether it is a single slice, which rightly shows few organs, and these without a volume.
    """

    organ_ml: dict[str, float]
    organ_right_mm: dict[str, float]
    is_slice: bool


@dataclass(frozen=True)
class Anatomy:
    """What an image and its label show together; :mod:`fedgin.data.validation.anatomy` measures it.

    Attributes:
        body_mm: size of the box around the body along the RAS+ axes.
        organ_mm: the same of each organ that the case shows.
        organ_brightness: median grey value of each organ, as a share of the way from the dark to the bright end of the
            body; below 0 or above 1 beyond them. It has no unit, so that MR can be compared.
        organ_hu: percentiles of the Hounsfield units of all organ voxels, evenly spaced; empty where there are none.
    """

    body_mm: tuple[float, ...]
    organ_mm: Mapping[str, tuple[float, ...]]
    organ_brightness: Mapping[str, float]
    organ_hu: tuple[float, ...]


@dataclass(frozen=True)
class CaseFacts:
    """One case; a part that could not be measured is ``None``.

    Attributes:
        case: which one.
        image: the facts of its image.
        label: the facts of its label.
        files: hash of the bytes of both files; empty when they cannot be read.
        thumbnail: a JPEG data URI, for local eyes only.
        unknown_ids: ids of its label that ``site.yaml`` neither names nor ignores, ascending.
        anatomy: what image and label show together; none where they do not belong together.
    """

    case: Case
    image: ImageFacts | None = None
    label: LabelFacts | None = None
    files: bytes = b""
    thumbnail: str | None = None
    unknown_ids: tuple[int, ...] = ()
    anatomy: Anatomy | None = None


def measure_image(volume: Volume) -> ImageFacts:
    """Measure an image with finite voxels [X, Y, Z]."""
    ras = to_ras(volume)
    sample = thin(ras.voxels)
    return ImageFacts(
        shape=volume.voxels.shape,
        axes="".join(nibabel.aff2axcodes(volume.affine)),
        spacing_mm=tuple(float(size) for size in ras.spacing),
        extent=ras.voxels.shape,
        percentiles=tuple(float(value) for value in np.percentile(sample, PERCENTILES)),
        content=hash_voxels(sample),
    )


def measure_label(case: Case, volume: Volume) -> LabelFacts:
    """Measure a label of site ids, uint8 [X, Y, Z]."""
    counts = count_ids(np.asarray(volume.voxels))
    return LabelFacts(
        organ_ml={
            organ: float(counts[list(ids_of(ids))].sum()) * volume.voxel_ml for organ, ids in case.label_ids.items()
        },
        organ_right_mm=_right_mm(case, to_ras(volume)),
        is_slice=1 in volume.voxels.shape,
    )


def to_ras(volume: Volume) -> Volume:
    """Order and direct the axes of a volume as RAS+; a view, no voxel is copied or interpolated."""
    turns = _turns(tuple(volume.affine.ravel().tolist()))
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(turns, volume.voxels.shape)
    return Volume(nibabel.orientations.apply_orientation(volume.voxels, turns), affine)


@lru_cache(maxsize=8)
def _turns(affine: tuple[float, ...]) -> NDArray[np.float64]:
    """Return nibabel's orientation of 16 numbers: half a millisecond, and six times for each case."""
    return np.asarray(nibabel.orientations.io_orientation(np.reshape(affine, (4, 4))))


def thin(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return every fourth voxel in plane of every second slice of [X, Y, Z]; short axes stay whole."""
    x, y, z = (step if size > 8 * step else 1 for step, size in zip(STEP, voxels.shape, strict=True))
    return np.ascontiguousarray(voxels[::x, ::y, ::z])


def count_by_slice(ids: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many voxels of each id (0 to 255) each slice along the first axis of [N, A, B] has: [N, 256]."""
    flat, size = ids.reshape(-1), ids[:1].size
    labelled = np.flatnonzero(flat)  # most of a label is background, which is not counted but what is left
    places = labelled // max(1, size) * IDS + flat[labelled]
    counts = np.bincount(places, minlength=IDS * len(ids)).reshape(len(ids), IDS)
    counts[:, 0] = size - counts[:, 1:].sum(axis=1)
    return counts


def _right_mm(case: Case, ras: Volume) -> dict[str, float]:
    """Return each organ's centre along the left-right axis; organs that the thinned label misses are left out."""
    thinned = thin(ras.voxels)
    step = ras.spacing[0] * ras.voxels.shape[0] / thinned.shape[0]
    profile = count_by_slice(thinned)
    offsets = (np.arange(len(profile)) - (len(profile) - 1) / 2) * step
    organs = {organ: profile[:, list(ids_of(ids))].sum(1) for organ, ids in case.label_ids.items()}
    return {organ: float(offsets @ voxels / voxels.sum()) for organ, voxels in organs.items() if voxels.any()}

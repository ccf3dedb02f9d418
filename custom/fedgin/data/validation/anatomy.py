"""How large body and organs are in a case, and how bright: what a plan for several sites rests on.

All of it is measured on the thinned image (:func:`fedgin.data.validation.facts.thin`), in a moment.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fedgin.data.body import find_outline
from fedgin.data.preprocessing_settings import Preprocessing
from fedgin.data.regions import Box, bounding_box
from fedgin.data.site import LARGEST_ID, OrganIds, ids_of
from fedgin.data.validation.facts import Anatomy, thin, to_ras
from fedgin.data.volumes import Volume

# Percentiles of a case's organ voxels that stand for all of them when those of several cases are put together.
GREY_STEPS = tuple(step / 2 for step in range(1, 200))
# The dark and the bright end of a body: what is beyond is fat, bone, vessels or noise.
DARK, BRIGHT = 5.0, 95.0
# Of the body's voxels every so many are enough for its ends.
SPARSE = 4


def measure_anatomy(image: Volume, label: Volume, organs: Mapping[str, OrganIds], *, hounsfield: bool) -> Anatomy:
    """Measure an image with finite voxels [X, Y, Z] and its label of site ids on the same grid.

    Args:
        image: the image.
        label: the label, with the axes of the image.
        organs: the site's organs with their ids.
        hounsfield: whether the image is in Hounsfield units.
    """
    ras, ids = to_ras(image), thin(to_ras(label).voxels)
    voxels = thin(ras.voxels)
    spacing = ras.spacing * ras.voxels.shape / np.array(voxels.shape)
    body = find_outline(Volume(voxels, np.diag([*spacing, 1.0])), hounsfield, Preprocessing())
    dark, bright = np.percentile(voxels[body][::SPARSE], (DARK, BRIGHT))
    numbers = _organ_numbers(ids, organs)
    boxes = ndimage.find_objects(numbers, max_label=len(organs))
    organ_mm, organ_brightness = {}, {}
    for number, (organ, box) in enumerate(zip(organs, boxes, strict=True), start=1):
        if box is not None:
            organ_mm[organ] = _extent(box, spacing)
            middle = float(np.median(voxels[box][numbers[box] == number]))
            organ_brightness[organ] = (middle - dark) / max(bright - dark, 1e-6)
    inside = voxels[numbers > 0] if hounsfield else voxels[:0].ravel()
    return Anatomy(
        body_mm=_extent(bounding_box(body) or (), spacing),
        organ_mm=organ_mm,
        organ_brightness=organ_brightness,
        organ_hu=tuple(np.percentile(inside, GREY_STEPS).tolist()) if inside.size else (),
    )


def _organ_numbers(ids: NDArray[Any], organs: Mapping[str, OrganIds]) -> NDArray[np.uint8]:
    """Replace the site's ids by the positions of their organs, from 1."""
    table = np.zeros(LARGEST_ID + 1, dtype=np.uint8)
    for number, known in enumerate(organs.values(), start=1):
        table[list(ids_of(known))] = number
    return table[ids]


def _extent(box: Box, spacing: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float((side.stop - side.start) * step) for side, step in zip(box, spacing, strict=True))

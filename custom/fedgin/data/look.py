"""Measure how an image looks, and summarise a group of them; see :mod:`fedgin.data.appearance`."""

from collections.abc import Mapping, Sequence

import numpy as np

from fedgin.data.appearance import AXES, Appearance, Look, read_fingerprints
from fedgin.data.site import Modality
from fedgin.data.small_groups import MIN_GROUP
from fedgin.data.validation.facts import PERCENTILES, thin, to_ras
from fedgin.data.validation.fingerprint import quartiles
from fedgin.data.volumes import Volume


def look_at(image: Volume) -> Look:
    """Measure an image with finite voxels [X, Y, Z], its grey values on a sample of them."""
    ras = to_ras(image)
    values = np.percentile(thin(ras.voxels), PERCENTILES)
    spacing = [float(size) for size in ras.spacing]
    extent = [float(size * count) for size, count in zip(ras.spacing, ras.voxels.shape, strict=True)]
    return Look(
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        field_of_view_mm=(extent[0], extent[1], extent[2]),
        grey={f"p{q:g}": float(value) for q, value in zip(PERCENTILES, values, strict=True)},
    )


def summarise_looks(looks: Mapping[Modality, Sequence[Look]]) -> list[Appearance]:
    """Return the appearance of each modality, with the same rules as a site's fingerprint.

    Args:
        looks: one a patient; a modality of fewer than ``MIN_GROUP`` patients is left out.
    """
    return read_fingerprints(
        {
            "modality": modality.value,
            "spacing_mm": {axis: quartiles([look.spacing_mm[i] for look in group]) for i, axis in enumerate(AXES)},
            "field_of_view_mm": {
                axis: quartiles([look.field_of_view_mm[i] for look in group]) for i, axis in enumerate(AXES)
            },
            "intensity_percentiles": {name: quartiles([look.grey[name] for look in group]) for name in group[0].grey},
        }
        for modality, group in looks.items()
        if len(group) >= MIN_GROUP
    )

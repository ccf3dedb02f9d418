"""Decide from the headers whether a series is a volume of the dataset, and if not, why."""

import math

import numpy as np
from pydicom.uid import RTStructureSetStorage

from fedgin.data.dicom.facts import Facts, SliceHeader
from fedgin.data.dicom.parts import is_localiser, part_scouts, split_volumes
from fedgin.data.dicom.pixel_data import has_decoder, is_in_word
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.rules import IngestRules
from fedgin.data.dicom.scan import Series
from fedgin.data.dicom.stack import Stack, stack_slices
from fedgin.data.site import Modality
from fedgin.data.volumes import LARGEST_VOLUME

# Direction cosines of one series differ by rounding only.
ORIENTATION_TOLERANCE = 1e-4


def take_apart(series: Series, rules: IngestRules) -> list[Series]:
    """Return the volumes of a series, each to be checked, and its scout images apart.

    A series that nobody wants stays whole: the list of what was left out would only grow.
    """
    return [
        part
        for whole in part_scouts(series)
        for part in (split_volumes(whole, rules.parts) if _wanted(whole, rules) is None else [whole])
    ]


def check_series(series: Series, rules: IngestRules) -> Stack | Reason:
    """Return the ordered slices of a series that can be converted, or the first reason against it.

    What the series is comes before what is wrong with it, so that a dose report is not reported as damaged.
    """
    for check in (_wanted, _check_part, _check_image, _check_values, _check_grid):
        reason = check(series, rules)
        if reason is not None:
            return reason
    try:
        return stack_slices(series.slices)
    except ValueError:  # highdicom refuses directions that are not perpendicular
        return Reason.NO_GEOMETRY


def _wanted(series: Series, rules: IngestRules) -> Reason | None:
    """Return why a series is no image of the dataset, whatever its state; ``None`` when it is one."""
    return _check_kind(series, rules) or _check_choice(series, rules)


def _check_part(series: Series, _: IngestRules) -> Reason | None:
    return Reason.DAMAGED_SLICE if series.lost else series.refused


def _check_kind(series: Series, rules: IngestRules) -> Reason | None:
    if series.facts.sop_class == RTStructureSetStorage:
        return Reason.RTSTRUCT
    if not any(facts.pixel for facts in series.all_facts):
        return Reason.NO_IMAGE
    # A header cut off before the image may have lost its modality too.
    other = any(facts.modality != rules.modality.value for facts in series.all_facts if facts.pixel)
    return Reason.WRONG_MODALITY if other else None


def _check_choice(series: Series, rules: IngestRules) -> Reason | None:
    if is_localiser(series.facts):
        return Reason.LOCALISER
    return None if rules.selects(series.facts.description) else Reason.NOT_SELECTED


def _check_image(series: Series, rules: IngestRules) -> Reason | None:
    if any(_is_multi_frame(facts) for facts in series.all_facts):
        return Reason.MULTI_FRAME
    if any(facts.colour for facts in series.all_facts):
        return Reason.COLOUR
    if any(facts.burned_in for facts in series.all_facts):
        return Reason.BURNED_IN
    if not all(facts.pixel for facts in series.all_facts):
        return Reason.TRUNCATED
    return Reason.TOO_FEW_SLICES if len(series.slices) < rules.minimum_slices else None


def _check_values(series: Series, rules: IngestRules) -> Reason | None:
    if rules.modality is Modality.CT and not all(_is_hu(facts) for facts in series.all_facts):
        return Reason.NOT_HU
    if any(facts.nonlinear or not _is_linear(facts) for facts in series.all_facts):
        return Reason.NONLINEAR
    if not all(has_decoder(facts.syntax) for facts in series.all_facts):
        return Reason.NO_DECODER
    whole = all(is_in_word(dict(facts.pixel), facts.shift) for facts in series.all_facts)
    return None if whole else Reason.HIGH_BIT


def _check_grid(series: Series, _: IngestRules) -> Reason | None:
    if not all(_has_geometry(facts) for facts in series.all_facts) or not all(map(_has_position, series.slices)):
        return Reason.NO_GEOMETRY
    first = series.facts
    if any(facts.patient != first.patient for facts in series.all_facts):
        return Reason.MIXED_PATIENTS
    if any(facts.size != first.size or not _same_spacing(facts, first) for facts in series.all_facts):
        return Reason.MIXED_SIZE
    if math.prod(first.size) * len(series.slices) > LARGEST_VOLUME:
        return Reason.TOO_LARGE
    if any(facts.frame != first.frame or not _parallel(facts, first) for facts in series.all_facts):
        return Reason.MIXED_ORIENTATION
    return None


def _is_multi_frame(facts: Facts) -> bool:
    return facts.frames > 1 or "MOSAIC" in facts.image_type


def _is_hu(facts: Facts) -> bool:
    """DICOM asks a CT image for slope and intercept, and for the type where it is not HU."""
    return facts.rescale_type in ("", "HU") and (facts.rescaled or facts.nonlinear)


def _is_linear(facts: Facts) -> bool:
    return math.isfinite(facts.slope) and math.isfinite(facts.intercept) and facts.slope != 0.0


def _has_geometry(facts: Facts) -> bool:
    whole = (len(facts.orientation), len(facts.spacing)) == (6, 2)
    return whole and all(map(math.isfinite, (*facts.orientation, *facts.spacing))) and min(facts.spacing) > 0.0


def _has_position(item: SliceHeader) -> bool:
    return len(item.position) == 3 and all(map(math.isfinite, item.position))


def _same_spacing(facts: Facts, first: Facts) -> bool:
    return bool(np.allclose(facts.spacing, first.spacing, rtol=1e-4))


def _parallel(facts: Facts, first: Facts) -> bool:
    return bool(np.allclose(facts.orientation, first.orientation, rtol=0.0, atol=ORIENTATION_TOLERANCE))

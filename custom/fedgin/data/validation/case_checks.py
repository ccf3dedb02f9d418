"""Check one case: open its files once, measure them, and turn everything that is wrong into findings."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedgin.data.datalist import Case
from fedgin.data.label_values import UnknownIdsError, as_label_ids
from fedgin.data.nifti_header import APART_MM
from fedgin.data.validation.anatomy import measure_anatomy
from fedgin.data.validation.content import hash_case
from fedgin.data.validation.facts import CaseFacts, ImageFacts, LabelFacts, measure_image, measure_label
from fedgin.data.validation.findings import Finding, collect, fail, warn
from fedgin.data.validation.sides import check_sides
from fedgin.data.validation.thumbnail import draw_thumbnail
from fedgin.data.volumes import (
    Volume,
    load_volume,
    refuse_constant,
    refuse_contradiction,
    refuse_not_finite,
    refuse_two_grids,
    refuse_wrong_modality,
    with_axes_of,
)

# Outside this range a header is more likely wrong (metres, micrometres, a missing spacing) than the scanner unusual.
SPACING_MM = (0.2, 12.0)
# Less than this is a stray voxel or a slip of the brush: the smallest abdominal organs (adrenals) have 1 ml and more.
TINY_ML = 0.5

Role = Literal["image", "label"]
# Each asks for what the ones before it have shown: NaN has no extremes, a constant image no modality.
IMAGE_CHECKS = (
    ("not_finite", refuse_not_finite),
    ("constant", refuse_constant),
    ("wrong_modality", refuse_wrong_modality),
)


def check_case(case: Case) -> tuple[CaseFacts, list[Finding]]:
    """Check and measure one case; whatever is wrong with it is a finding, never an exception."""
    findings = _missing(case)
    if findings:
        return CaseFacts(case), findings
    image, image_facts = _check_image(case, findings)
    label, label_facts, unknown = _check_label(case, findings)
    findings += _check_headers(case, {"image": image, "label": label})
    if image is None or label is None:
        picture = _draw(case, image, image_facts)
        return CaseFacts(case, image_facts, label_facts, thumbnail=picture, unknown_ids=unknown), findings
    label = with_axes_of(image.affine, label)
    faults = _check_grids(case, image, label)
    findings += faults
    files = b""
    with collect(findings, "unreadable", case):
        files = hash_case(case)
    overlay = label if label_facts and not faults else None
    picture = _draw(case, image, image_facts, overlay)
    anatomy = None
    if image_facts and overlay:
        anatomy = measure_anatomy(image, overlay, case.label_ids, hounsfield=case.in_hounsfield_units)
    return CaseFacts(case, image_facts, label_facts, files, picture, unknown, anatomy), findings


def _missing(case: Case) -> list[Finding]:
    fix = "restore it or take the case out of the datalist"
    return [
        fail("file_missing", f"{case}: the {role} file is missing", fix, case)
        for role, path in (("image", case.image), ("label", case.label))
        if not path.is_file()
    ]


def _check_image(case: Case, findings: list[Finding]) -> tuple[Volume | None, ImageFacts | None]:
    """Return the image if it can be read, and its measures if its voxels are finite numbers."""
    image = None
    with collect(findings, "unreadable", case):
        image = load_volume(case, "image")
    if image is None:
        return None, None
    findings += _check_spacing(case, image.spacing)
    faults = _first_fault(case, image)
    findings += faults
    finite = all(fault.code != "not_finite" for fault in faults)
    return image, measure_image(image) if finite else None


def _first_fault(case: Case, image: Volume) -> list[Finding]:
    faults: list[Finding] = []
    for code, refuse in IMAGE_CHECKS:
        with collect(faults, code, case):
            refuse(case, image.voxels)
        if faults:
            break
    return faults


def _check_label(case: Case, findings: list[Finding]) -> tuple[Volume | None, LabelFacts | None, tuple[int, ...]]:
    """Return the label if it can be read, as uint8 with its measures if it holds known ids only, else the others."""
    label = ids = None
    unknown: tuple[int, ...] = ()
    with collect(findings, "unreadable", case):
        label = load_volume(case, "label")
    if label is None:
        return None, None, unknown
    with collect(findings, "unknown_label_id", case):
        try:
            ids = as_label_ids(case, label.voxels)
        except UnknownIdsError as error:
            unknown = tuple(error.ids)
            raise
    if ids is None:
        return label, None, unknown
    known = Volume(ids, label.affine, label.header)
    facts = measure_label(case, known)
    findings += _check_volumes(case, facts)
    if not facts.is_slice:  # one slice, of an unknown plane at that, says little about where an organ lies
        findings += check_sides(case, facts.organ_right_mm)
    return known, facts, unknown


def _check_headers(case: Case, volumes: Mapping[Role, Volume | None]) -> list[Finding]:
    findings: list[Finding] = []
    for role, volume in volumes.items():
        with collect(findings, "geometry_contradicts", case):
            if volume is not None:
                refuse_contradiction(f"{case}: the {role}", volume)
    unset = [role for role, volume in volumes.items() if volume and volume.header.unset]
    if unset:
        message = f"{case}: the header of {' and '.join(unset)} sets neither sform nor qform: sides are a guess"
        fix = "look at the picture; export the series again with a tool that keeps its geometry"
        findings.append(warn("geometry_unset", message, fix, case))
    apart = max((volume.header.apart_mm for volume in volumes.values() if volume), default=0.0)
    if apart > APART_MM:
        message = f"{case}: sform and qform place the voxels up to {apart:.1f} mm apart"
        fix = "training uses the sform; make sure that the label was drawn by it, or export the series again"
        findings.append(warn("geometry_apart", message, fix, case))
    return findings


def _check_grids(case: Case, image: Volume, label: Volume) -> list[Finding]:
    faults: list[Finding] = []
    with collect(faults, "two_grids", case):
        refuse_two_grids(case, image, label)
    return faults


def _draw(case: Case, image: Volume | None, facts: ImageFacts | None, label: Volume | None = None) -> str | None:
    return draw_thumbnail(case, image, label) if image and facts else None


def _check_spacing(case: Case, spacing: NDArray[np.float64]) -> list[Finding]:
    low, high = SPACING_MM
    if all(low <= size <= high for size in spacing):
        return []
    sizes = " x ".join(f"{size:.3g}" for size in spacing)
    message = f"{case}: voxels of {sizes} mm (plausible: {low:g} to {high:g} mm along each axis)"
    fix = "compare with the scanner's protocol; export the series again if the header holds no or another unit"
    return [warn("spacing", message, fix, case)]


def _check_volumes(case: Case, facts: LabelFacts) -> list[Finding]:
    if not any(facts.organ_ml.values()):
        message = f"{case}: the label shows no organ"
        return [fail("label_empty", message, "take the case out of the datalist, or restore its label", case)]
    tiny = [f"{organ.replace('_', ' ')} {ml:.2f} ml" for organ, ml in facts.organ_ml.items() if 0 < ml < TINY_ML]
    if not tiny or facts.is_slice:
        return []
    message = f"{case}: organs below {TINY_ML} ml: {', '.join(tiny)}"
    fix = "look at the picture; erase stray voxels, or keep it if the image ends there"
    return [warn("organ_tiny", message, fix, case)]

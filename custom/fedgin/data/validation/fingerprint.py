"""``fingerprint.json``: what a lead may know of a dataset. Nothing in it is of one patient."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import fedgin
from fedgin.data.appearance import AXES
from fedgin.data.datalist import Split
from fedgin.data.small_groups import MIN_GROUP, TAIL_GROUP, suppress
from fedgin.data.validation.facts import PERCENTILES, Anatomy, CaseFacts
from fedgin.data.validation.findings import Finding, name_case
from fedgin.data.validation.run import Validation
from fedgin.data.validation.site_key import keyed_hash

QUARTILES = (25.0, 50.0, 75.0)
DECILES = (10.0, *QUARTILES, 90.0)
NOTE = (
    f"Groups of fewer than {MIN_GROUP} cases are '<{MIN_GROUP}' and have no percentiles; cases of a split that small "
    f"are in no statistic. Percentiles 10 and 90 are of {TAIL_GROUP} cases or more. 'dataset' is a hash with a secret "
    "of the site: it shows a change, not what changed."
)


def build_fingerprint(validation: Validation, key: bytes) -> dict[str, Any]:
    """Return the shareable description of a validated site as JSON values.

    Cases of a split with fewer than :data:`MIN_GROUP` cases enter no statistic, because the difference of two totals
    would tell about them. The hash covers the files of all images and labels, in any order, and can only be computed
    with the site's key, so that owning a copy of an image does not reveal whether its patient is here.

    Args:
        validation: the site.
        key: the site's secret, from :func:`fedgin.data.validation.site_key.load_key`.
    """
    counts = Counter(case.case.split for case in validation.facts)
    shared = [case for case in validation.facts if counts[case.case.split] >= MIN_GROUP]
    return {
        "site": validation.contract.site,
        "modality": validation.contract.modality.value,
        "fedgin": fedgin.__version__,
        "note": NOTE,
        "verdict": validation.verdict.value,
        "cases": {split.value: suppress(counts[split]) for split in Split},
        **_describe_images([case.image for case in shared if case.image]),
        "training": _describe_training([case for case in shared if case.case.split is Split.TRAINING]),
        "organs": _describe_organs(validation.contract.labels, shared),
        "findings": _count_findings(validation.findings, shared),
        "dataset": keyed_hash(key, *sorted(case.files for case in validation.facts)),
    }


def _count_findings(findings: Iterable[Finding], cases: Sequence[CaseFacts]) -> dict[str, int | str | None]:
    """Return of each fault how many of these cases have it; no number for one of the whole site."""
    known = {name_case(facts.case) for facts in cases}
    faults = [finding for finding in findings if finding.fix]
    of_site = {finding.code: None for finding in faults if not finding.case}
    counts = Counter(code for code, case in {(finding.code, finding.case) for finding in faults} if case in known)
    counted = {code: suppress(number, len(cases)) for code, number in counts.items()}
    return dict(sorted((of_site | counted).items()))


def quartiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return the quartiles, to four significant digits; ``None`` for a group that is too small."""
    return _percentiles(values, QUARTILES) if len(values) >= MIN_GROUP else None


def deciles(values: Sequence[float]) -> dict[str, float] | None:
    """Return quartiles, and percentiles 10 and 90 where at least ``MIN_GROUP`` of the values lie at or beyond them."""
    return _percentiles(values, DECILES) if len(values) >= TAIL_GROUP else quartiles(values)


def _percentiles(values: Sequence[float], which: Sequence[float]) -> dict[str, float]:
    found = np.percentile(values, which)
    return {f"p{q:g}": _round(float(value)) for q, value in zip(which, found, strict=True)}


def _describe_images(images: Sequence[Any]) -> dict[str, Any]:
    axes = Counter(image.axes for image in images)
    return {
        "orientations": {name: suppress(number, len(images)) for name, number in sorted(axes.items())},
        "spacing_mm": {name: quartiles([image.spacing_mm[i] for image in images]) for i, name in enumerate(AXES)},
        "field_of_view_mm": {
            name: quartiles([image.spacing_mm[i] * image.extent[i] for image in images]) for i, name in enumerate(AXES)
        },
        "voxels": {name: quartiles([image.extent[i] for image in images]) for i, name in enumerate(AXES)},
        "intensity_percentiles": {
            f"p{q:g}": quartiles([image.percentiles[i] for image in images]) for i, q in enumerate(PERCENTILES)
        },
    }


def _describe_training(cases: Sequence[CaseFacts]) -> dict[str, Any]:
    """Describe the cases that a plan may rest on: those of training alone."""
    images = [case.image for case in cases if case.image]
    found = [case.anatomy for case in cases if case.anatomy]
    return {
        "spacing_mm": {name: deciles([image.spacing_mm[i] for image in images]) for i, name in enumerate(AXES)},
        "slices": deciles([image.extent[2] for image in images]),
        "length_mm": deciles([image.spacing_mm[2] * image.extent[2] for image in images]),
        "body_mm": {name: deciles([case.body_mm[i] for case in found]) for i, name in enumerate(AXES)},
        "organ_hu": _describe_hu([case.organ_hu for case in found if case.organ_hu]),
    }


def _describe_hu(cases: Sequence[tuple[float, ...]]) -> dict[str, float] | None:
    """Return percentiles of the organ voxels of all cases together, of which each counts as much as any other."""
    return _percentiles(np.concatenate(cases).tolist(), PERCENTILES) if len(cases) >= MIN_GROUP else None


def _describe_organs(labels: Iterable[str], cases: Sequence[CaseFacts]) -> dict[str, Any]:
    volumes = [case.label.organ_ml for case in cases if case.label]
    shown = {organ: [ml[organ] for ml in volumes if ml[organ]] for organ in labels}
    found = [case.anatomy for case in cases if case.anatomy]
    return {
        organ: {
            "cases": suppress(len(sizes), len(volumes)),
            "volume_ml": quartiles(sizes),
            **_describe_organ([case for case in found if organ in case.organ_mm], organ),
        }
        for organ, sizes in shown.items()
    }


def _describe_organ(shown: Sequence[Anatomy], organ: str) -> dict[str, Any]:
    return {
        "extent_mm": {name: quartiles([case.organ_mm[organ][i] for case in shown]) for i, name in enumerate(AXES)},
        "brightness": quartiles([case.organ_brightness[organ] for case in shown]),
    }


def _round(value: float) -> float:
    return float(f"{value:.4g}")

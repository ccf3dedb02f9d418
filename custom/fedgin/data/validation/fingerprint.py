"""``fingerprint.json``: what a lead may know of a dataset. Nothing in it is of one patient."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import fedgin
from fedgin.data.appearance import AXES
from fedgin.data.datalist import Split
from fedgin.data.small_groups import MIN_GROUP, suppress
from fedgin.data.validation.facts import PERCENTILES, CaseFacts
from fedgin.data.validation.run import Validation
from fedgin.data.validation.site_key import keyed_hash

QUARTILES = (25.0, 50.0, 75.0)
NOTE = (
    f"Groups of fewer than {MIN_GROUP} cases are '<{MIN_GROUP}' and have no percentiles; cases of a split that small "
    "are in no statistic. 'dataset' is a hash with a secret of the site: it shows a change, not what changed."
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
    faults = Counter(finding.code for finding in validation.findings if finding.fix)
    return {
        "site": validation.contract.site,
        "modality": validation.contract.modality.value,
        "fedgin": fedgin.__version__,
        "note": NOTE,
        "verdict": validation.verdict.value,
        "cases": {split.value: suppress(counts[split]) for split in Split},
        **_describe_images([case.image for case in shared if case.image]),
        "organs": _describe_organs(validation.contract.labels, shared),
        "findings": {code: suppress(number) for code, number in sorted(faults.items())},
        "dataset": keyed_hash(key, *sorted(case.files for case in validation.facts)),
    }


def quartiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return the quartiles, to four significant digits; ``None`` for a group that is too small."""
    if len(values) < MIN_GROUP:
        return None
    found = np.percentile(values, QUARTILES)
    return {f"p{q:g}": _round(float(value)) for q, value in zip(QUARTILES, found, strict=True)}


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


def _describe_organs(labels: Iterable[str], cases: Sequence[CaseFacts]) -> dict[str, Any]:
    volumes = [case.label.organ_ml for case in cases if case.label]
    shown = {organ: [ml[organ] for ml in volumes if ml[organ]] for organ in labels}
    return {
        organ: {"cases": suppress(len(sizes), len(volumes)), "volume_ml": quartiles(sizes)}
        for organ, sizes in shown.items()
    }


def _round(value: float) -> float:
    return float(f"{value:.4g}")

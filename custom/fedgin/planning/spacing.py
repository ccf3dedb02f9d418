"""How large voxels are, and whether the network sees volumes or slices: nnU-Net's rules on what sites share."""

import math
from collections.abc import Sequence

from fedgin.data.appearance import AXES
from fedgin.data.preprocessing_settings import MOST_VOXELS, SIDE_STEP
from fedgin.errors import ConfigError
from fedgin.planning.decision import HERE, NNUNET, Decision, numbers
from fedgin.planning.fingerprints import ByAxis, Fingerprint
from fedgin.planning.pooling import Shared, pool

ANISOTROPIC = 3.0
COARSE_PERCENTILE = 10.0


def choose_dimensions(known: Sequence[Fingerprint], step: float, asked: int | None) -> tuple[int, Decision]:
    """Choose volumes, unless the median case of some site has too few slices for a patch.

    Args:
        known: sites that share numbers.
        step: between the planned volumes' slices, in mm.
        asked: 2 or 3; ``None`` leaves it to the rule.
    """
    source = "asked for" if asked else HERE
    if asked == 2:
        return 2, Decision("dimensions", "2", "slices, by --dimensions 2", source)
    flat = ", ".join(said for site in known if (said := _too_flat(site, step)))
    if asked == 3 and flat:
        raise ConfigError(f"too few slices for volumes: {flat}", "plan slices: --dimensions 2")
    if flat:
        reason = f"too few slices for a patch, which has {SIDE_STEP} at least: {flat}"
        return 2, Decision("dimensions", "2", reason, source)
    reason = f"the median case of every site has {SIDE_STEP} slices or more at this spacing"
    return 3, Decision("dimensions", "3", reason, source)


def _too_flat(site: Fingerprint, step: float) -> str:
    """Name a site whose median case has too few slices so far apart, with their number; else nothing."""
    slices, length = site.training.slices, site.training.length_mm
    if not slices or not length or length["p50"] / step >= SIDE_STEP:
        return ""
    # Its own are enough: it is the plan that has fewer.
    planned = f", {int(length['p50'] / step)} of {step:g} mm" if slices["p50"] >= SIDE_STEP else ""
    return f"{site.site} ({slices['p50']:.0f}{planned})"


def volume_spacing(known: Sequence[Fingerprint]) -> tuple[tuple[float, ...], Decision]:
    """Return the voxels of volumes in mm along the RAS+ axes, and why."""
    groups = [groups_of(known, "spacing_mm", axis) for axis in range(3)]
    median = [pool(group, 50.0) for group in groups]
    coarse = max(range(3), key=lambda axis: median[axis])
    ratio = median[coarse] / min(median)
    reason = f"median over the sites, by cases; anisotropic by {ratio:.1f}"
    if ratio > ANISOTROPIC:
        others = max(step for axis, step in enumerate(median) if axis != coarse)
        before, median[coarse] = median[coarse], max(others, pool(groups[coarse], COARSE_PERCENTILE))
        name = AXES[coarse].replace("_", "-")
        reason += f", so {name} has percentile {COARSE_PERCENTILE:g} ({median[coarse]:.3g}), not {before:.3g}"
    spacing = tuple(round(step, 2) for step in median)
    return spacing, Decision("spacing_mm", numbers(spacing), reason, NNUNET)


def within_volume(
    known: Sequence[Fingerprint], spacing: tuple[float, ...], why: Decision
) -> tuple[tuple[float, ...], Decision]:
    """Enlarge voxels of which the largest case would have more than is ever prepared."""
    largest = math.prod(max(group.largest() for group in body_groups(known, axis)) for axis in ("x", "y", "z"))
    factor = (largest / math.prod(spacing) / MOST_VOXELS) ** (1 / 3)
    if factor <= 1.0:
        return spacing, why
    enlarged = tuple(math.ceil(100 * step * factor) / 100 for step in spacing)
    reason = f"{why.reason}; enlarged, because a prepared volume has at most {MOST_VOXELS:,} voxels"
    return enlarged, Decision(why.key, numbers(enlarged), reason, f"{NNUNET}, {HERE}")


def body_groups(known: Sequence[Fingerprint], axis: str) -> list[Shared]:
    """Return the size of the body in plane (x, y), and how much images cover along it (z), in mm."""
    if axis == "z":
        return [Shared(site.training.length_mm or {}, site.training_cases) for site in known]
    return groups_of(known, "body_mm", "xy".index(axis))


def groups_of(known: Sequence[Fingerprint], what: str, axis: int) -> list[Shared]:
    """Return one of the sizes of ``training`` along an axis, of each site."""
    found: list[tuple[ByAxis, int]] = [(getattr(site.training, what), site.training_cases) for site in known]
    return [Shared(sizes.known()[axis], cases) for sizes, cases in found]

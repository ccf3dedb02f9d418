"""Fingerprints of sites that were never measured, and strategies that draw federations of them."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

import fedgin
from fedgin.data.appearance import AXES
from fedgin.planning.fingerprints import Fingerprint

ORGANS = {"liver": (210.0, 180.0, 200.0), "spleen": (100.0, 100.0, 100.0)}


def spread(middle: float, width: float = 0.1, *, tails: bool = False) -> dict[str, float]:
    """Return percentiles around a median."""
    shares = {"p10": 1 - 2 * width, "p25": 1 - width, "p50": 1.0, "p75": 1 + width, "p90": 1 + 2 * width}
    return {name: middle * share for name, share in shares.items() if tails or name not in ("p10", "p90")}


def by_axis(sizes: tuple[float, float, float], width: float = 0.1, *, tails: bool = False) -> dict[str, Any]:
    return {axis: spread(size, width, tails=tails) for axis, size in zip(AXES, sizes, strict=True)}


def fingerprint(
    site: str = "a",
    modality: str = "CT",
    *,
    cases: int = 10,
    spacing: tuple[float, float, float] = (1.5, 1.5, 5.0),
    body: tuple[float, float, float] = (360.0, 270.0, 430.0),
    organs: Mapping[str, float] | None = None,
    hu: tuple[float, float] | None = (-60.0, 240.0),
    width: float = 0.1,
    **changes: Any,
) -> dict[str, Any]:
    """Return a site's ``fingerprint.json``.

    Args:
        site: its name.
        modality: CT or MR.
        cases: in training; below 3 there are no numbers.
        spacing: medians along the RAS+ axes in mm.
        body: medians of the box around the body; the image is as long as the body.
        organs: by name, how bright they are.
        hu: ends of the organs' Hounsfield units, of a CT.
        width: of each distribution, as a share of its median.
        changes: of the whole, by key.
    """
    few, tails = cases < 3, cases >= 12
    nothing = dict.fromkeys(AXES)
    slices = max(1.0, body[2] / spacing[2])
    training = {
        "spacing_mm": nothing if few else by_axis(spacing, width, tails=tails),
        "slices": None if few else spread(slices, width, tails=tails),
        "length_mm": None if few else spread(slices * spacing[2], width, tails=tails),
        "body_mm": nothing if few else by_axis(body, width, tails=tails),
        "organ_hu": None if few or modality == "MR" or not hu else {"p0.5": hu[0], "p50": sum(hu) / 2, "p99.5": hu[1]},
    }
    shown = {
        organ: {
            "cases": max(cases, 3),
            "volume_ml": spread(300.0),
            "extent_mm": by_axis(ORGANS.get(organ, (50.0, 50.0, 50.0))),
            "brightness": spread(bright, 0.01),
        }
        for organ, bright in (organs or {"liver": 0.7, "spleen": 0.7}).items()
    }
    whole = {
        "site": site,
        "modality": modality,
        "fedgin": fedgin.__version__,
        "note": "drawn",
        "verdict": "PASS",
        "cases": {"training": "<3" if few else cases, "validation": 3, "test": 3},
        "orientations": {"LAS": max(cases, 6)},
        "spacing_mm": by_axis(spacing, width),
        "field_of_view_mm": by_axis(body, width),
        "voxels": by_axis(body, width),
        "intensity_percentiles": {"p50": spread(100.0)},
        "training": training,
        "organs": shown,
        "findings": {},
        "dataset": site.encode().hex().rjust(64, "0"),
    }
    return whole | changes


def sites(*found: dict[str, Any]) -> list[Fingerprint]:
    return [Fingerprint.model_validate(each) for each in found]


@st.composite
def federations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw two to four sites that share numbers, of any spacing, size and modality."""
    axis = st.floats(0.5, 8.0)
    side = st.floats(60.0, 600.0)
    return [
        fingerprint(
            f"site-{number}",
            draw(st.sampled_from(["CT", "MR"])),
            cases=draw(st.integers(3, 40)),
            spacing=(draw(axis), draw(axis), draw(axis)),
            body=(draw(side), draw(side), draw(side)),
            organs={"liver": draw(st.floats(0.1, 0.9)), "spleen": 0.5},
            width=draw(st.floats(0.0, 0.3)),
        )
        for number in range(draw(st.integers(2, 4)))
    ]

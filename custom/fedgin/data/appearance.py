"""How the training images of a modality look, in numbers of groups, and in what another image differs from them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from fedgin.config import Settings
from fedgin.data.site import Modality
from fedgin.errors import DataError

Range = tuple[float, float]
# RAS+ axes, by the names that a fingerprint gives them.
AXES = ("left_right", "posterior_anterior", "inferior_superior")
# An image is unlike the others when a size is beyond the middle half of theirs by more than this factor.
SIZE_MARGIN = 1.5
# Or a grey value is beyond it by more than this share of the range of theirs.
GREY_MARGIN = 0.25
LOWEST, MIDDLE, HIGHEST = "p0.5", "p50", "p99.5"


class Look(Settings):
    """One image in numbers.

    Attributes:
        spacing_mm: distance of voxels along the RAS+ axes.
        field_of_view_mm: what it covers along them.
        grey: percentiles of its grey values, HU or arbitrary units, by names such as ``p99.5``.
    """

    spacing_mm: tuple[float, float, float]
    field_of_view_mm: tuple[float, float, float]
    grey: dict[str, float]


class Appearance(Settings):
    """The first and the third quartile over the images of a group, never one image's numbers.

    Attributes:
        modality: the modality of the images.
        spacing_mm: along the RAS+ axes.
        field_of_view_mm: along the RAS+ axes.
        grey: by percentile, as in :class:`Look`.
    """

    modality: Modality
    spacing_mm: tuple[Range, Range, Range]
    field_of_view_mm: tuple[Range, Range, Range]
    grey: dict[str, Range]

    def differences(self, look: Look) -> list[str]:
        """Say in what an image is unlike these, a line for each; an MR's grey values have no unit and are scaled."""
        theirs = f"half of the {self.modality} training images have"
        found = [
            f"its voxels measure {mine:.3g} mm from {_words(axis)}; {theirs} {low:.3g} to {high:.3g} mm"
            for axis, mine, (low, high) in zip(AXES, look.spacing_mm, self.spacing_mm, strict=True)
            if not low / SIZE_MARGIN <= mine <= high * SIZE_MARGIN
        ]
        found += [
            f"it covers {mine:.0f} mm from {_words(axis)}; {theirs} {low:.0f} to {high:.0f} mm"
            for axis, mine, (low, high) in zip(AXES, look.field_of_view_mm, self.field_of_view_mm, strict=True)
            if not low / SIZE_MARGIN <= mine <= high * SIZE_MARGIN
        ]
        return found + (self._grey_scaled(look.grey) if self.modality is Modality.MR else self._grey(look.grey))

    def _grey(self, grey: Mapping[str, float]) -> list[str]:
        spread = GREY_MARGIN * (self.grey[HIGHEST][1] - self.grey[LOWEST][0])
        return [
            f"its grey value at percentile {name[1:]} is {grey[name]:.0f} HU; "
            f"half of the {self.modality} training images have {low:.0f} to {high:.0f} HU"
            for name, (low, high) in self.grey.items()
            if name in (LOWEST, MIDDLE, HIGHEST) and not low - spread <= grey[name] <= high + spread
        ]

    def _grey_scaled(self, grey: Mapping[str, float]) -> list[str]:
        """Hold where the middle grey value lies between the darkest and the brightest."""
        mine = _share(grey[LOWEST], grey[MIDDLE], grey[HIGHEST])
        low = _share(self.grey[LOWEST][0], self.grey[MIDDLE][0], self.grey[HIGHEST][1])
        high = _share(self.grey[LOWEST][1], self.grey[MIDDLE][1], self.grey[HIGHEST][0])
        if low - GREY_MARGIN <= mine <= high + GREY_MARGIN:
            return []
        return [
            f"its middle grey value is at {mine:.0%} of the range; the {self.modality} training images have "
            f"{low:.0%} to {high:.0%}"
        ]


def read_fingerprints(fingerprints: Iterable[Mapping[str, Any]]) -> list[Appearance]:
    """Return the appearance of each modality from what sites share, the ranges of all of its sites together.

    A site with too few cases shares no numbers, and adds nothing.

    Raises:
        DataError: one of them is no fingerprint of this version.
    """
    found: dict[Modality, list[Appearance]] = {}
    for values in fingerprints:
        try:
            shared = _read(values)
        except (KeyError, TypeError, AttributeError, ValidationError):
            raise DataError(
                "a fingerprint is damaged, or of another version", "ask the site for one of 'fedgin site validate'"
            ) from None
        if shared is not None:
            found.setdefault(shared.modality, []).append(shared)
    return [_join(items) for _, items in sorted(found.items())]


def _read(values: Mapping[str, Any]) -> Appearance | None:
    parts = [values["spacing_mm"][axis] for axis in AXES], [values["field_of_view_mm"][axis] for axis in AXES]
    grey = values["intensity_percentiles"]
    if not all([*parts[0], *parts[1], *grey.values()]):
        return None
    ranges = [tuple((item["p25"], item["p75"]) for item in part) for part in parts]
    shown = {name: (item["p25"], item["p75"]) for name, item in grey.items()}
    return Appearance.model_validate(
        {"modality": values["modality"], "spacing_mm": ranges[0], "field_of_view_mm": ranges[1], "grey": shown}
    )


def _join(items: Sequence[Appearance]) -> Appearance:
    return Appearance(
        modality=items[0].modality,
        spacing_mm=_widest([item.spacing_mm for item in items]),
        field_of_view_mm=_widest([item.field_of_view_mm for item in items]),
        grey={name: _span([item.grey[name] for item in items]) for name in items[0].grey},
    )


def _widest(items: Sequence[tuple[Range, Range, Range]]) -> tuple[Range, Range, Range]:
    x, y, z = (_span([item[axis] for item in items]) for axis in range(3))
    return x, y, z


def _span(ranges: Sequence[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _share(low: float, middle: float, high: float) -> float:
    return (middle - low) / max(high - low, 1e-6)


def _words(axis: str) -> str:
    return " to ".join(axis.split("_"))

"""Take a series apart where it holds more than one volume."""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from fedgin.data.dicom.facts import Facts, SliceHeader
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.rules import PartRules
from fedgin.data.dicom.scan import Series

# Values of ImageType that scanners give to scout images.
_SCOUTS = frozenset(("LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOSCOPE"))

# Traits by which slices at one position are told apart, named as in the rules; time comes last.
_TRAITS: dict[str, Callable[[SliceHeader], Hashable]] = {
    "image_type": lambda item: item.facts.image_type,
    "echo_time": lambda item: item.traits.echo_time,
    "b_value": lambda item: item.traits.b_value,
}


@dataclass(frozen=True)
class _Part:
    """Slices, and the trait values that they share and others of the series do not."""

    slices: list[SliceHeader]
    values: dict[str, Hashable]


def is_localiser(facts: Facts) -> bool:
    """Tell whether an image is a scout, on which the slices were planned."""
    return not _SCOUTS.isdisjoint(facts.image_type)


def part_scouts(series: Series) -> list[Series]:
    """Return the series, and its scout images as another one if it has both."""
    scouts = [item for item in series.slices if is_localiser(item.facts)]
    if len(scouts) in (0, len(series.slices)):
        return [series]
    slices = [item for item in series.slices if not is_localiser(item.facts)]
    return [Series(series.key, slices, series.lost), Series(f"{series.key}|localiser", scouts)]


def split_volumes(series: Series, rules: PartRules) -> list[Series]:
    """Return the volumes of a series; all but the one that the rules choose are refused.

    The chosen one keeps the key of the series, so that segmentations still find it.
    """
    parts = _split(series.slices)
    if len(parts) == 1:
        return [series]
    chosen = [rules.choose(part.values) for part in parts]
    split = []
    for part, taken in zip(parts, chosen, strict=True):
        shown = "; ".join(f"{trait}: {_shown(value)}" for trait, value in part.values.items())
        alone = taken and sum(chosen) == 1
        refused = None if alone else Reason.SEVERAL_PARTS if taken or not any(chosen) else Reason.OTHER_PART
        key = series.key if alone else f"{series.key}|{shown}"
        split.append(Series(key, part.slices, series.lost, shown, refused))
    return split


def _split(slices: list[SliceHeader]) -> list[_Part]:
    """Stacks are always apart; any other trait counts only where two slices lie at one position."""
    parts = _by(_Part(slices, {}), "stack", lambda item: item.traits.stack)
    for trait, read in _TRAITS.items():
        parts = [inner for part in parts for inner in (_by(part, trait, read) if _separates(part, read) else [part])]
    return [inner for part in parts for inner in _by_time(part)]


def _by(part: _Part, trait: str, read: Callable[[SliceHeader], Hashable]) -> list[_Part]:
    groups: dict[Hashable, list[SliceHeader]] = {}
    for item in part.slices:
        groups.setdefault(read(item), []).append(item)
    if len(groups) == 1:
        return [part]
    ordered = sorted(groups, key=lambda value: (value is None, str(value)) if not _is_number(value) else (False, value))
    return [_Part(groups[value], {**part.values, trait: value}) for value in ordered]


def _separates(part: _Part, read: Callable[[SliceHeader], Hashable]) -> bool:
    places = Counter(place for place, _ in {(_place(item), read(item)) for item in part.slices})
    return max(places.values()) > 1


def _by_time(part: _Part) -> list[_Part]:
    """Number the slices of every position by time; not when times are equal, or not every position has all."""
    places: dict[Hashable, list[SliceHeader]] = {}
    for item in part.slices:
        places.setdefault(_place(item), []).append(item)
    counts = {len(items) for items in places.values()}
    distinct = all(len({item.traits.moment for item in items}) == len(items) for items in places.values())
    if len(counts) > 1 or counts == {1} or not distinct:
        return [part]
    columns = [sorted(items, key=lambda item: item.traits.moment) for items in places.values()]
    return [
        _Part([column[index] for column in columns], {**part.values, "time": index + 1}) for index in range(*counts)
    ]


def _place(item: SliceHeader) -> Hashable:
    """Two slices are at one place when position and orientation agree to a hundredth of a millimetre."""
    return tuple(round(value, 2) for value in (*item.position, *item.facts.orientation))


def _is_number(value: Hashable) -> bool:
    return isinstance(value, float | int)


def _shown(value: Hashable) -> str:
    return "/".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)

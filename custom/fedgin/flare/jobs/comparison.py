"""Compare a JSON document with the only one that is accepted."""

from collections.abc import Iterator
from typing import Any

from fedgin.errors import ConfigError

SHOWN, LONGEST_PLACE = 5, 120


def check_same(found: object, expected: object, *, source: str, fix: str) -> None:
    """Name what differs, not its value.

    Raises:
        ConfigError: anything is missing, added or different.
    """
    places = list(_differences(found, expected, ""))
    if places:
        shown = "; ".join(f"'{place[:LONGEST_PLACE]}' {fault}" for place, fault in places[:SHOWN])
        more = f"; and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        raise ConfigError(f"{source}: {shown}{more}", fix)


def _differences(found: Any, expected: Any, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(expected, list) and isinstance(found, list):
        found, expected = dict(enumerate(found)), dict(enumerate(expected))
    if type(found) is not type(expected) or (not isinstance(expected, dict) and found != expected):
        # True equals 1 in Python, and 1.0 does: FLARE may tell them apart.
        yield at or "the file", "is not what the job's experiment.yaml makes it"
    elif isinstance(expected, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            place = f"{at}.{key}" if at else str(key)
            if key not in found:
                yield place, "is missing"
            elif key not in expected:
                yield place, "does not belong there"
            else:
                yield from _differences(found[key], expected[key], place)

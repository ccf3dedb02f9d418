"""Checks of constructor arguments; each fails with a :class:`fedgin.errors.ConfigError` that says what is allowed."""

from collections.abc import Sequence

from fedgin.errors import ConfigError


def check_count(name: str, value: object) -> int:
    """Return ``value`` if it is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} is {value!r}", f"give {name} as an integer of at least 1")
    return value


def check_number(name: str, value: object, *, low: float, high: float) -> float:
    """Return ``value`` as a float if it is a number in ``[low, high]``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}", f"give {name} as a number from {low:g} to {high:g}")
    return float(value)


def check_flag(name: str, value: object) -> bool:
    """Return ``value`` if it is ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}", f"give {name} as true or false")
    return value


def check_choice(name: str, value: object, allowed: Sequence[str]) -> str:
    """Return ``value`` if it is one of the ``allowed`` words."""
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}", f"choose {name} from {', '.join(allowed)}")
    return str(value)


def check_interval(name: str, value: object, *, low: float, high: float) -> tuple[float, float]:
    """Return ``value`` as a pair of ascending numbers inside ``[low, high]``; a list from YAML is accepted."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ConfigError(f"{name} is {value!r}", f"give {name} as two numbers, for example [{low:g}, {high:g}]")
    first, last = (check_number(name, end, low=low, high=high) for end in value)
    if first > last:
        raise ConfigError(f"{name} is {value!r}", f"give the smaller end of {name} first")
    return first, last

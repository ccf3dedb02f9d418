"""Read values of a dataset as plain Python: what is absent or empty has a default, never an exception."""

from typing import Any

import pydicom


def text(dataset: pydicom.Dataset, keyword: str) -> str:
    """Return a value as text without surrounding blanks; empty when absent."""
    return str(dataset.get(keyword) or "").strip()


def values(dataset: pydicom.Dataset, keyword: str) -> list[Any]:
    """Return the values of an element that may have several; empty when absent."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | float | int) else list(value)


def numbers(dataset: pydicom.Dataset, keyword: str) -> tuple[float, ...]:
    """Return the values of an element as numbers; empty when absent.

    Raises:
        ValueError: a value is no number.
    """
    return tuple(float(value) for value in values(dataset, keyword))


def number(dataset: pydicom.Dataset, keyword: str, default: float) -> float:
    """Return a value as a number, or ``default`` when absent.

    Raises:
        ValueError: the value is no number.
    """
    value = dataset.get(keyword)
    return default if value is None or value == "" else float(value)

"""Read our YAML files into strict pydantic models, and turn what is wrong in them into one clear line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from fedgin.documents import read_yaml
from fedgin.errors import ConfigError

SHOWN_FAULTS = 8
# By regular expression, what it asks for.
_WORDS: dict[str, str] = {}


class Settings(BaseModel):
    """Base of every settings model: unknown keys are errors, numbers are finite, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


SettingsT = TypeVar("SettingsT", bound=BaseModel)


def load_settings(path: Path, model: type[SettingsT]) -> SettingsT:
    """Read a YAML file into ``model``.

    Args:
        path: the file; a mapping of plain YAML values (see :func:`fedgin.documents.read_yaml`).
        model: the pydantic model that says which keys exist.

    Raises:
        ConfigError: the file is missing, is no YAML mapping, or a key is unknown, missing or out of range. The message
            names file, key and fix.
    """
    return parse_settings(_read_mapping(path), model, source=str(path))


def parse_settings(values: object, model: type[SettingsT], *, source: str) -> SettingsT:
    """Validate already parsed values; ``source`` names their origin in the error."""
    try:
        return model.model_validate(values)
    except ConfigError as error:  # of a registry, with a fix of its own
        raise ConfigError(f"{source}: {error.problem}", error.fix) from None
    except ValidationError as error:
        raise ConfigError(f"{source}: {_describe(error)}", _suggest(error, model)) from None


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with nested keys changed; a mapping changes the keys that it names, anything else replaces."""
    result = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if nested else value
    return result


def _read_mapping(path: Path) -> object:
    values = read_yaml(path, source=str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values", "start from the README's example")
    return values


def _describe(error: ValidationError) -> str:
    """Name each faulty key; values are left out because they may hold something private."""
    faults = [
        f"'{place(fault['loc']) or 'the file'}': {_reason(fault)}"
        for fault in error.errors(include_url=False, include_input=False)
    ]
    more = [f"and {len(faults) - SHOWN_FAULTS} more"] if len(faults) > SHOWN_FAULTS else []
    return "; ".join(faults[:SHOWN_FAULTS] + more)


def _reason(fault: ErrorDetails) -> str:
    if fault["type"] == "extra_forbidden":
        return "unknown key"
    if fault["type"] == "string_pattern_mismatch":
        pattern = str(fault["ctx"]["pattern"])
        return f"expected {_WORDS.get(pattern, f'a text like {pattern}')}"
    return fault["msg"].removeprefix("Value error, ")


def place(path: Sequence[int | str]) -> str:
    """Return where a value stands, as people count: the first of a list is 1, as in what a validation finds."""
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in path)


def spelt(pattern: str, words: str) -> str:
    """Return a regular expression, of which an error says the words instead.

    Args:
        pattern: for pydantic.
        words: what a text must be, such as ``a name of letters and digits``.
    """
    _WORDS[pattern] = words
    return pattern


def _suggest(error: ValidationError, model: type[BaseModel]) -> str:
    if any(fault["type"] == "extra_forbidden" and len(fault["loc"]) == 1 for fault in error.errors()):
        return f"the keys are {', '.join(sorted(model.model_fields))}"
    return "correct the named keys"

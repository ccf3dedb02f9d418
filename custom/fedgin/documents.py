"""Read YAML and JSON that came from outside as plain values of bounded size: nothing is built, expanded or run."""

import codecs
import json
import math
import os
import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import yaml

from fedgin.errors import ConfigError

# PyYAML reads about 100 kB a second; a federation of a thousand sites has 100 kB.
LARGEST_YAML = 2**18
# A datalist of a hundred thousand cases has some 15 MB.
LARGEST_JSON = 2**26
DEEPEST = 32
LARGEST_INTEGER = 2**63
NO_FILE_NAME = re.compile("[\0\ud800-\udfff]")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_yaml(path: Path, *, source: str) -> Any:
    """Read the plain subset of YAML: no tags of Python's, no anchors, no key twice.

    Values are ``None``, booleans, finite floats, integers of 64 bits, strings without NUL and lone surrogates, lists,
    and mappings with strings as keys, nested at most :data:`DEEPEST` deep. Numbers of base 60, such as
    ``12:30``, are texts.

    Args:
        path: a regular file of at most :data:`LARGEST_YAML` bytes.
        source: names the file in the error, which never quotes its content.

    Raises:
        ConfigError: the file is missing, larger, no YAML or more than plain.
    """
    return _read(path, source, "YAML", LARGEST_YAML, _parse_yaml)


def read_json(path: Path, *, source: str) -> Any:
    """Read JSON with the same limits as :func:`read_yaml`, but of at most :data:`LARGEST_JSON` bytes."""
    return _read(path, source, "JSON", LARGEST_JSON, parse_json)


def parse_json(text: str) -> Any:
    """Parse JSON and check that it is plain.

    Raises:
        ValueError: it is not; the text quotes nothing.
    """
    try:
        values = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"not readable as JSON near line {error.lineno}") from None
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} deep") from None
    _refuse_special(values)
    return values


def _read(path: Path, source: str, language: str, largest: int, parse: Callable[[str], Any]) -> Any:
    if not os.path.isfile(path):  # unlike Path.is_file() it has an answer for every name; a pipe would block a reader
        raise ConfigError(f"{source}: no such file", "check the path, or create the file from the README's example")
    try:
        if path.stat().st_size > largest:
            raise ConfigError(f"{source}: larger than {largest} bytes", "leave out what does not belong there")
        return parse(_decode(path.read_bytes()))
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"{source}: not readable as {language}", "write it as UTF-8 and check its permissions"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{source}: {error}", f"write plain {language}, like the README's example") from None


def _decode(content: bytes) -> str:
    """Decode UTF-8, or what editors on Windows mark by a byte order mark as UTF-8 or UTF-16."""
    return content.decode("utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")


def _parse_yaml(text: str) -> Any:
    try:
        values = yaml.load(text, _PlainLoader)
    except _RefusedError as error:
        raise ValueError(f"{error.problem}{_near(error)}") from None
    except Exception as error:  # besides its own, PyYAML raises what int(), float() and date() do of odd scalars
        raise ValueError(f"not readable as YAML{_near(error)}") from None
    _refuse_special(values)
    return values


def _near(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" near line {mark.line + 1}" if mark is not None else ""


class _RefusedError(yaml.MarkedYAMLError):
    """Valid YAML that we do not read."""


class _PlainLoader(yaml.SafeLoader):
    """Refuses what lets few bytes become much (aliases, nesting) and keys of which one would win silently."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        problem = "anchors and aliases are not allowed" if self.check_event(yaml.AliasEvent) else ""
        if self._depth > DEEPEST:
            problem = f"nested more than {DEEPEST} deep"
        if problem:
            raise _RefusedError(problem=problem, problem_mark=self.get_mark())
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_scalar_node(self, anchor: dict[str, yaml.Node]) -> yaml.ScalarNode:
        """Take ``12:30:45`` as text, as YAML 1.2 does: PyYAML makes 45045 of it, and of long ones takes seconds."""
        node = super().compose_scalar_node(anchor)
        if ":" in node.value and node.tag in _NUMBERS:
            node.tag = self.DEFAULT_SCALAR_TAG
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _RefusedError(problem="a key is given twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is given twice")
    return values


def _refuse_special(values: Any) -> None:
    level, depth = [values], 0
    while level:
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")
        for value in level:
            fault = _fault(value)
            if fault:
                raise ValueError(fault)
        level, depth = [inner for value in level for inner in _inside(value)], depth + 1


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def _fault(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN and infinity are not allowed"
    if isinstance(value, int) and not -LARGEST_INTEGER <= value < LARGEST_INTEGER:
        return "an integer has more than 64 bits"
    if isinstance(value, str) and NO_FILE_NAME.search(value):
        return "a text holds NUL or half a character"
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return "a key is no text; put it in quotes"
    plain = value is None or isinstance(value, bool | int | float | str | list | dict)
    return "" if plain else "a value is a date, bytes or a set; put it in quotes"

"""What a startup kit expects, in ``startup/fedgin.json``: version and hash of this package, and its own files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fedgin
from fedgin.errors import ConfigError
from fedgin.files import hash_files, write_text

FILE = "fedgin.json"
# What a file may raise that is no manifest of ours.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RecursionError)


def package_hash() -> str:
    """Return the SHA-256 of the names and contents of the installed package's files."""
    root = Path(fedgin.__file__).parent
    files = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return hash_files(root, files)


def write_manifest(startup: Path) -> None:
    """Write version and hash of this installation into a kit's ``startup`` folder."""
    _write(startup, {"package": "fedgin", "version": fedgin.__version__, "sha256": package_hash()})


def add_file_names(startup: Path) -> None:
    """Add the names of the files beside it to the manifest of a kit that is complete, where the kit has one."""
    if (startup / FILE).is_file():
        _write(startup, {**_read(startup), "files": sorted(path.name for path in startup.iterdir())})


def read_file_names(startup: Path) -> set[str]:
    """Return the names that :func:`add_file_names` added; none where nobody did, or where they cannot be read."""
    try:
        return set(_read(startup)["files"])
    except _UNREADABLE:
        return set()


def check_manifest(startup: Path) -> None:
    """Compare the kit's expectation with the installed package.

    Raises:
        ConfigError: they differ, or the kit says nothing readable.
    """
    try:
        values = _read(startup)
        version, expected = str(values["version"]), str(values["sha256"])
    except _UNREADABLE:
        raise ConfigError(f"the kit has no readable startup/{FILE}", "ask the project lead for a new kit") from None
    installed = package_hash()
    if version != fedgin.__version__ or expected != installed:
        raise ConfigError(
            f"the kit expects fedgin {version} ({expected[:12]}), installed is {fedgin.__version__} ({installed[:12]})",
            f"install fedgin {version} as it was released, or ask the project lead for a new kit",
        )


def _read(startup: Path) -> Any:
    return json.loads((startup / FILE).read_text(encoding="utf-8"))


def _write(startup: Path, values: Mapping[str, object]) -> None:
    write_text(startup / FILE, json.dumps(values, indent=2) + "\n")

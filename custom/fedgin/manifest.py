"""What of this package a startup kit expects: version and hash, in ``startup/fedgin.json``."""

import json
from pathlib import Path

import fedgin
from fedgin.errors import ConfigError
from fedgin.files import hash_files, write_text

FILE = "fedgin.json"


def package_hash() -> str:
    """Return the SHA-256 of the names and contents of the installed package's files."""
    root = Path(fedgin.__file__).parent
    files = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return hash_files(root, files)


def write_manifest(startup: Path) -> None:
    """Write version and hash of this installation into a kit's ``startup`` folder."""
    values = {"package": "fedgin", "version": fedgin.__version__, "sha256": package_hash()}
    write_text(startup / FILE, json.dumps(values, indent=2) + "\n")


def check_manifest(startup: Path) -> None:
    """Compare the kit's expectation with the installed package.

    Raises:
        ConfigError: they differ, or the kit says nothing readable.
    """
    try:
        values = json.loads((startup / FILE).read_text(encoding="utf-8"))
        version, expected = str(values["version"]), str(values["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(f"the kit has no readable startup/{FILE}", "ask the project lead for a new kit") from None
    installed = package_hash()
    if version != fedgin.__version__ or expected != installed:
        raise ConfigError(
            f"the kit expects fedgin {version} ({expected[:12]}), installed is {fedgin.__version__} ({installed[:12]})",
            f"install fedgin {version} as it was released, or ask the project lead for a new kit",
        )

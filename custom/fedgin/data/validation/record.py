"""What validation leaves behind for later: the verdict, and a way to notice that it no longer holds."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedgin.data.site import SiteContract
from fedgin.data.validation.findings import Severity
from fedgin.data.validation.roster import list_leniently
from fedgin.data.validation.run import Validation
from fedgin.data.validation.site_key import KEY_FILE, keyed_hash, load_key
from fedgin.errors import FedginError
from fedgin.files import write_text

RESULT = "validation.json"


@dataclass(frozen=True)
class ValidationRecord:
    """The last validation of a site.

    Attributes:
        verdict: its worst severity.
        cases: images it opened.
        is_current: whether contract, datalist and files are as they were then.
    """

    verdict: Severity
    cases: int
    is_current: bool


def default_folder(contract: SiteContract) -> Path:
    """Return where validation writes unless told otherwise: beside the site's cache."""
    return contract.cache_dir.parent / "fedgin-validation"


def describe(validation: Validation) -> dict[str, Any]:
    """Return the result as JSON values, without a path or an identifier."""
    return {
        "site": validation.contract.site,
        "verdict": validation.verdict.value,
        "cases": len(validation.facts),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "findings": [finding.as_dict() for finding in validation.findings],
    }


def write_record(folder: Path, validation: Validation) -> None:
    """Write ``validation.json``."""
    values = describe(validation) | {"inputs": hash_inputs(validation.contract, load_key(folder))}
    write_text(folder / RESULT, json.dumps(values, indent=2) + "\n")


def read_record(folder: Path, contract: SiteContract) -> ValidationRecord | None:
    """Return the last result in ``folder``; ``None`` when there is none that can be read."""
    if not all((folder / name).is_file() for name in (RESULT, KEY_FILE)):
        return None
    try:
        values = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        inputs = hash_inputs(contract, load_key(folder))
        return ValidationRecord(Severity(values["verdict"]), int(values["cases"]), values["inputs"] == inputs)
    except (OSError, ValueError, KeyError, TypeError, FedginError):
        return None


def hash_inputs(contract: SiteContract, key: bytes) -> str:
    """Return a keyed hash over contract, datalist and each file's size and time of change; no file is opened."""
    stamps = []
    for item in list_leniently(contract):
        for path in (item.case.image, item.case.label):
            status = path.stat() if path.is_file() else None
            stamps.append((status.st_size, status.st_mtime_ns) if status else None)
    parts = [contract.model_dump_json().encode(), contract.datalist.read_bytes(), json.dumps(stamps).encode()]
    return keyed_hash(key, *parts)

"""What validation leaves behind for later: the verdict, and a way to notice that it no longer holds."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedgin.data.site import SiteContract
from fedgin.data.validation.findings import Severity, by_severity, warn
from fedgin.data.validation.roster import list_leniently
from fedgin.data.validation.run import Progress, Validation, validate_site
from fedgin.data.validation.site_key import KEY_FILE, keyed_hash, load_key
from fedgin.documents import read_json
from fedgin.errors import ConfigError, FedginError
from fedgin.files import write_text

RESULT, FINGERPRINT = "validation.json", "fingerprint.json"
VALIDATE = "run 'fedgin site validate' at the site, without --out"


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


def validate_noting_inputs(
    contract: SiteContract, key: bytes, *, progress: Progress = lambda done, total: None
) -> tuple[Validation, str]:
    """Validate a site, and return with the result the hash of what there was to check before the first case.

    A file that changes while others are checked is a finding, and the site is then not as it was validated.

    Args:
        contract: the site.
        key: the site's secret.
        progress: as of :func:`~fedgin.data.validation.run.validate_site`.

    Raises:
        ConfigError: the datalist itself cannot be read.
    """
    inputs = hash_inputs(contract, key)
    validation = validate_site(contract, progress=progress)
    if hash_inputs(contract, key) == inputs:
        return validation, inputs
    changed = warn(
        "changed_meanwhile",
        f"site {contract.site}: the datalist or a file changed during the validation",
        "validate again when nobody writes there",
    )
    return replace(validation, findings=by_severity([*validation.findings, changed])), inputs


def describe(validation: Validation) -> dict[str, Any]:
    """Return the result as JSON values, without a path or an identifier."""
    return {
        "site": validation.contract.site,
        "verdict": validation.verdict.value,
        "cases": len(validation.facts),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "findings": [finding.as_dict() for finding in validation.findings],
    }


def write_record(folder: Path, validation: Validation, inputs: str) -> None:
    """Write ``validation.json``; ``inputs`` is the hash of :func:`validate_noting_inputs`."""
    values = describe(validation) | {"inputs": inputs}
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


def agreed_fingerprint(contract: SiteContract) -> Any:
    """Return the ``fingerprint.json`` of the last validation, as JSON values, for whoever asks in the federation.

    Raises:
        ConfigError: the site has not agreed to that, or has none of its data as they are now.
    """
    if not contract.share_fingerprint:
        raise ConfigError(
            "the site has not agreed to send its fingerprint",
            "ask the site: 'share_fingerprint: true' in its site.yaml",
        )
    folder = default_folder(contract)
    record = read_record(folder, contract)
    if record is None:
        raise ConfigError("the site's data were not validated", VALIDATE)
    if not record.is_current:
        raise ConfigError("the site's data or site.yaml have changed since they were validated", VALIDATE)
    return read_json(folder / FINGERPRINT, source=FINGERPRINT)


def hash_inputs(contract: SiteContract, key: bytes) -> str:
    """Return a keyed hash over contract, datalist and each file's size and time of change; no file is opened."""
    stamps = []
    for item in list_leniently(contract):
        for path in (item.case.image, item.case.label):
            status = path.stat() if path.is_file() else None
            stamps.append((status.st_size, status.st_mtime_ns) if status else None)
    about_data = contract.model_dump_json(exclude={"share_fingerprint"})
    parts = [about_data.encode(), contract.datalist.read_bytes(), json.dumps(stamps).encode()]
    return keyed_hash(key, *parts)

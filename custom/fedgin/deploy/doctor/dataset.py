"""The data: the verdict of the last validation, if it still holds."""

from pathlib import Path

from fedgin.data.site import SiteContract
from fedgin.data.validation.findings import Finding, Severity, fail, passed, warn
from fedgin.data.validation.record import read_record

NEXT = "run: fedgin site validate SITE_YAML"


def check_dataset(contract: SiteContract, folder: Path) -> list[Finding]:
    """Report the last verdict; nothing is validated here, because that takes minutes on a large site."""
    record = read_record(folder, contract)
    if record is None:
        return [fail("data", "the dataset has not been validated", NEXT)]
    if not record.is_current:
        return [warn("data", "datalist, contract or files have changed since the last validation", NEXT)]
    said = f"validation of {record.cases} cases says {record.verdict}"
    if record.verdict is Severity.PASS:
        return [passed("data", said)]
    report = warn if record.verdict is Severity.WARN else fail
    return [report("data", said, "open validation.html and do what its findings say")]

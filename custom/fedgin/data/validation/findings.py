"""What a check says: how bad it is, what was seen and what to do next."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from fedgin.data.datalist import Case
from fedgin.errors import DataError


class Severity(StrEnum):
    """How bad a finding is; the exit code of a verb is that of its worst finding."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"

    @property
    def exit_code(self) -> int:
        """Return 0 for PASS, 1 for WARN, 2 for FAIL."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Finding:
    """One result of one check.

    Attributes:
        severity: PASS, WARN or FAIL.
        code: stable short name of the fault, or of the check that passed.
        message: what was seen; names site, split and case number, never a patient, a file or a folder.
        fix: what to do next; empty for PASS.
        case: which case it is about, such as ``training case 3``; empty when it is about the whole site.
    """

    severity: Severity
    code: str
    message: str
    fix: str = ""
    case: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the finding as plain JSON values."""
        return {key: str(value) for key, value in asdict(self).items()}


def passed(code: str, message: str) -> Finding:
    """Return a PASS."""
    return Finding(Severity.PASS, code, message)


def warn(code: str, message: str, fix: str, case: Case | None = None) -> Finding:
    """Return a WARN: training works, but somebody should look."""
    return Finding(Severity.WARN, code, message, fix, name_case(case))


def fail(code: str, message: str, fix: str, case: Case | None = None) -> Finding:
    """Return a FAIL: training would refuse, or would learn something wrong."""
    return Finding(Severity.FAIL, code, message, fix, name_case(case))


def name_case(case: Case | None) -> str:
    """Return how a finding names a case."""
    return "" if case is None else f"{case.split} case {case.number}"


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings with the worst first, those that are equally bad in their order."""
    return sorted(findings, key=lambda finding: -finding.severity.exit_code)


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the worst severity; PASS when there is no finding."""
    return max((finding.severity for finding in findings), key=lambda s: s.exit_code, default=Severity.PASS)


@contextlib.contextmanager
def collect(findings: list[Finding], code: str, case: Case) -> Iterator[None]:
    """Append a :class:`DataError` of the block as a FAIL of this code instead of letting it stop the run."""
    try:
        yield
    except DataError as error:
        findings.append(fail(code, error.problem, error.fix, case))

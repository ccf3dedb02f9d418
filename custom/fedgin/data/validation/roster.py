"""Which cases a site lists: read leniently, so that a fault in the list does not hide the faults in the files."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from fedgin.data.datalist import Case, Split, cases_of, parse_datalist
from fedgin.data.site import SiteContract
from fedgin.data.validation.findings import Finding, fail, warn

# Below these a split cannot show what it is for; the test split may be empty.
MIN_CASES = {Split.TRAINING: 3, Split.VALIDATION: 2, Split.TEST: 0}


@dataclass(frozen=True)
class Listed:
    """A case of the datalist with what the list says of it."""

    case: Case
    patient: str | None


def list_leniently(contract: SiteContract) -> list[Listed]:
    """Return every entry of the datalist; missing files, repeats and shared patients are left to the checks.

    Raises:
        ConfigError: no JSON, no case, or an unknown key in an entry.
    """
    datalist = parse_datalist(contract.datalist)
    return [
        Listed(case, entry.patient)
        for split in Split
        for case, entry in zip(cases_of(contract, datalist, split), datalist.entries(split), strict=True)
    ]


def check_roster(listed: Sequence[Listed]) -> list[Finding]:
    """Return what is wrong with the list itself: repeats, shared or unnamed patients, too few cases."""
    return [*_repeats(listed), *_shared_patients(listed), *_unnamed_patients(listed), *_small_splits(listed)]


def _repeats(listed: Sequence[Listed]) -> list[Finding]:
    seen: dict[str, Case] = {}
    findings = []
    for case in (item.case for item in listed):
        first = seen.setdefault(str(case.image), case)
        if first is not case:
            message = f"{case} is the same file as {first.split} case {first.number}"
            findings.append(fail("listed_twice", message, "list each image once", case))
    return findings


def _shared_patients(listed: Sequence[Listed]) -> list[Finding]:
    homes: dict[str, Case] = {}
    findings = []
    for item in listed:
        if item.patient is None:
            continue
        first = homes.setdefault(item.patient, item.case)
        if first.split != item.case.split:
            message = f"{item.case} is of the same patient as {first.split} case {first.number}"
            fix = "keep all cases of a patient in one split"
            findings.append(fail("patient_in_two_splits", message, fix, item.case))
    return findings


def _unnamed_patients(listed: Sequence[Listed]) -> list[Finding]:
    unnamed = sum(item.patient is None for item in listed)
    if not unnamed:
        return []
    message = f"site {listed[0].case.site}: {unnamed} of {len(listed)} cases name no patient"
    fix = "add a pseudonym as 'patient' to each entry, so that one patient in two splits can be noticed"
    return [warn("patient_unnamed", message, fix)]


def _small_splits(listed: Sequence[Listed]) -> list[Finding]:
    counts = Counter(item.case.split for item in listed)
    site = listed[0].case.site
    fix = "add cases, or move some here from another split, whole patients at a time"
    if not counts[Split.TRAINING] and not counts[Split.VALIDATION]:
        message = f"site {site}: test cases only: it can evaluate a bundle, but takes part in no training"
        return [warn("few_cases", message, "to train, list cases under 'training' and 'validation', too")]
    return [
        warn("few_cases", f"site {site}: {counts[split]} {split} cases (at least {least} are of use)", fix)
        for split, least in MIN_CASES.items()
        if counts[split] < least
    ]


def check_test_names(contract: SiteContract) -> list[Finding]:
    """Say that a test split of bare image names, as the Decathlon's, is not used."""
    names = parse_datalist(contract.datalist).test_names
    if not names:
        return []
    message = f"site {contract.site}: {names} entries of 'test' name an image without a label and are not used"
    return [warn("test_unlabelled", message, "give image and label for each, as in 'training', if they are labelled")]


def unique_by_image(listed: Sequence[Listed]) -> list[Case]:
    """Return the cases to open: each image once."""
    groups: dict[str, list[Case]] = defaultdict(list)
    for item in listed:
        groups[str(item.case.image)].append(item.case)
    return [cases[0] for cases in groups.values()]

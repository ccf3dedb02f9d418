"""Validate a site: every case, one in memory at a time."""

from collections.abc import Callable
from dataclasses import dataclass

from fedgin.data.site import SiteContract
from fedgin.data.validation.case_checks import SPACING_MM, check_case
from fedgin.data.validation.facts import CaseFacts
from fedgin.data.validation.findings import Finding, Severity, by_severity, passed, worst
from fedgin.data.validation.roster import check_roster, check_test_names, list_leniently, unique_by_image
from fedgin.data.validation.set_checks import check_set
from fedgin.data.volumes import GRID_TOLERANCE_MM

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Validation:
    """The result for a site.

    Attributes:
        contract: the site.
        findings: worst first, then by case; one PASS for each group of checks that found nothing.
        facts: one entry for each image, in the order of the datalist.
    """

    contract: SiteContract
    findings: list[Finding]
    facts: list[CaseFacts]

    @property
    def verdict(self) -> Severity:
        """The worst severity of all findings."""
        return worst(self.findings)


def validate_site(contract: SiteContract, *, progress: Progress = lambda done, total: None) -> Validation:
    """Check every case of a site and the site as a whole; faults in the data are findings, not exceptions.

    Args:
        contract: the site.
        progress: called with the number of cases done and of all.

    Raises:
        ConfigError: the datalist itself cannot be read.
    """
    listed = list_leniently(contract)
    cases = unique_by_image(listed)
    facts: list[CaseFacts] = []
    findings = check_roster(listed) + check_test_names(contract)
    for done, case in enumerate(cases, start=1):
        measured, faults = check_case(case)
        facts.append(measured)
        findings += faults
        progress(done, len(cases))
    findings += check_set(contract, facts)
    findings += _passes(contract, facts, {finding.code for finding in findings})
    return Validation(contract, by_severity(findings), facts)


@dataclass(frozen=True)
class _Group:
    """Checks that are reported as one PASS when they had ``cases`` to look at and none of their codes was found."""

    name: str
    cases: int
    text: str
    codes: frozenset[str]


def _passes(contract: SiteContract, facts: list[CaseFacts], found: set[str]) -> list[Finding]:
    groups = _groups(contract, facts)
    quiet = [group for group in groups if group.cases and not group.codes & found]
    return [passed(group.name, f"{group.cases} cases: {group.text}") for group in quiet]


def _groups(contract: SiteContract, facts: list[CaseFacts]) -> list[_Group]:
    cases, images, labels = len(facts), sum(bool(c.image) for c in facts), sum(bool(c.label) for c in facts)
    solid = sum(bool(c.label and not c.label.is_slice) for c in facts)
    low, high = SPACING_MM
    rows = [
        ("files", cases, "image and label can be read", "file_missing unreadable"),
        ("intensities", images, f"plausible {contract.modality} values", "not_finite constant wrong_modality"),
        (
            "geometry",
            cases,
            "headers state one place, sides are known",
            "geometry_contradicts geometry_unset geometry_apart",
        ),
        ("spacing", images, f"{low:g} to {high:g} mm along each axis", "spacing"),
        ("orientation", images, "one orientation", "orientations_differ"),
        ("duplicates", images, "no image occurs twice", "duplicate_image listed_twice"),
        ("grids", min(images, labels), f"image and label within {GRID_TOLERANCE_MM:g} mm", "two_grids"),
        ("label_ids", labels, "only ids of the site's label map", "unknown_label_id ids_differ"),
        ("names", cases, "organs are called as in the jobs of this package", "organ_misspelt organ_unknown"),
        (
            "organs",
            labels,
            "all organs are shown",
            "label_empty organ_never_seen organ_absent organ_tiny",
        ),
        ("sides", solid, "organs with a side lie on it", "left_right"),
        (
            "splits",
            cases,
            "filled, no patient in two",
            "patient_in_two_splits patient_unnamed few_cases test_unlabelled",
        ),
    ]
    return [_Group(name, count, text, frozenset(codes.split())) for name, count, text, codes in rows]

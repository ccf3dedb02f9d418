"""Checks that need all cases of a site at once."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from fedgin.data.label_values import MOST_LISTED, shown
from fedgin.data.organ_names import Likeness, resembled
from fedgin.data.organs import ORGANS
from fedgin.data.site import OTHERS, SiteContract, ids_of, load_site
from fedgin.data.validation.facts import CaseFacts
from fedgin.data.validation.findings import Finding, fail, warn
from fedgin.errors import ConfigError


def check_set(contract: SiteContract, facts: Sequence[CaseFacts]) -> list[Finding]:
    """Return what concerns the site as a whole: names, unknown ids, orientations, absent organs, one image twice."""
    return [
        *_names(contract),
        *_ids_of_the_data(contract),
        *_unknown_ids(contract, facts),
        *_orientations(contract, facts),
        *_organs(contract, facts),
        *_duplicates(facts),
    ]


def _names(contract: SiteContract) -> list[Finding]:
    """Judge the organs' names: a job finds an organ by its name, so that a slip trains nothing."""
    findings = []
    for name in (name for name in contract.labels if name not in ORGANS):
        like = resembled(name)
        said = f"site {contract.site}: '{name}' is in no job of this package"
        if like is None:
            fix = "nothing to do if the organ is new; every site and the job must write this name alike"
            findings.append(warn("organ_unknown", said, fix))
            continue
        known, likeness = like
        report = fail if likeness is Likeness.SLIP else warn
        fix = f"write '{known}' under 'labels' in site.yaml, unless the job of your federation says '{name}'"
        findings.append(report("organ_misspelt", f"{said}; did you mean '{known}'?", fix))
    return findings


def _ids_of_the_data(contract: SiteContract) -> list[Finding]:
    """Hold the ids against the ``site.yaml`` that was written with the data; a kit has one of its own."""
    path = contract.data_root / "site.yaml"
    try:
        made = load_site(path)
    except ConfigError:  # there is none, or it is about something else
        return []
    known, own = ({organ: sorted(ids_of(ids)) for organ, ids in each.labels.items()} for each in (made, contract))
    wrong = [organ for organ in own if organ in known and known[organ] != own[organ]]
    if made.data_root != contract.data_root or not wrong:
        return []
    there = ", ".join(f"{organ} {' and '.join(map(str, known[organ]))}" for organ in wrong)
    message = f"site {contract.site}: the site.yaml in data_root, written with the data, has other ids: {there}"
    return [fail("ids_differ", message, "take over its 'labels', or correct it if it is the one that is wrong")]


def _unknown_ids(contract: SiteContract, facts: Iterable[CaseFacts]) -> list[Finding]:
    """Say in one line what the label map lacks, so that it is completed once."""
    found = [case.unknown_ids for case in facts if case.unknown_ids]
    if len(found) < 2:
        return []
    ids = sorted(set().union(*found))
    message = f"site {contract.site}: {len(found)} cases hold ids that are not in the site's label map: {shown(ids)}"
    fix = f"name them under 'labels' in site.yaml, or write 'ignore: [{', '.join(map(str, ids[:MOST_LISTED]))}]'"
    return [fail("unknown_label_id", message, f"{fix} or 'ignore: {OTHERS}'")]


def _orientations(contract: SiteContract, facts: Iterable[CaseFacts]) -> list[Finding]:
    counts = Counter(case.image.axes for case in facts if case.image)
    if len(counts) < 2:
        return []
    shown = ", ".join(f"{axes} in {number}" for axes, number in counts.most_common())
    message = f"site {contract.site}: the images have different orientations: {shown}"
    fix = "training reorients them; look at the pictures of the rarer kind, they often come from another export"
    return [warn("orientations_differ", message, fix)]


def _organs(contract: SiteContract, facts: Iterable[CaseFacts]) -> list[Finding]:
    """Report organs that no case shows, and for each case the other organs that it lacks."""
    labelled = [(case.case, case.label) for case in facts if case.label and any(case.label.organ_ml.values())]
    if not labelled:
        return []
    shown = {organ for _, label in labelled for organ, ml in label.organ_ml.items() if ml}
    findings = [_never_seen(contract, organ) for organ in contract.labels if organ not in shown]
    for case, label in labelled:
        absent = [organ.replace("_", " ") for organ, ml in label.organ_ml.items() if not ml and organ in shown]
        if absent and not label.is_slice:
            message = f"{case}: not shown: {', '.join(absent)}"
            fix = "label it if the image shows it, else it would be learnt as background; keep it if it was removed"
            findings.append(warn("organ_absent", message, fix, case))
    return findings


def _never_seen(contract: SiteContract, organ: str) -> Finding:
    ids = ", ".join(map(str, ids_of(contract.labels[organ])))
    message = f"site {contract.site}: no case shows {organ.replace('_', ' ')} (id {ids})"
    fix = f"correct its id under 'labels' in site.yaml, or take '{organ}' out if this site does not label it"
    return fail("organ_never_seen", message, fix)


def _duplicates(facts: Iterable[CaseFacts]) -> list[Finding]:
    """Report images with the same voxels in different files; in two splits that is a leak of test cases."""
    groups: dict[bytes, list[CaseFacts]] = defaultdict(list)
    for case in facts:
        if case.image:
            groups[case.image.content].append(case)
    findings = []
    for first, *others in groups.values():
        for other in others:
            message = f"{other.case} shows the same voxels as {first.case.split} case {first.case.number}"
            report = warn if other.case.split == first.case.split else fail
            fix = "list each image once, whatever its file is called"
            findings.append(report("duplicate_image", message, fix, other.case))
    return findings

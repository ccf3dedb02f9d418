"""Make sites of an archive, one a modality: files linked or computed, splits kept or drawn. A second run continues.

``OUT/amos22-ct`` has ``images/`` and ``labels/`` with links to the originals, or files computed from several, and
``site.yaml``, ``datalist.json`` and ``splits.json``. These three are written once everything else is right.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import yaml

from fedgin.config import load_settings
from fedgin.data.datalist import Case, Split
from fedgin.data.dicom.rules import SplitRules
from fedgin.data.dicom.splits import read_settled, split_patients, write_settled
from fedgin.data.importers.archive import SHOWN, Archive, ArchiveCase, refuse_faults
from fedgin.data.importers.dataset_json import DATASET
from fedgin.data.importers.derived import Derived, is_current, write_derived
from fedgin.data.importers.label_page import PAGE, write_label_page
from fedgin.data.importers.site_draft import DATALIST, SITE
from fedgin.data.label_values import as_label_ids, count_ids
from fedgin.data.site import Modality, SiteContract, ids_of
from fedgin.data.volumes import load_volume
from fedgin.errors import ConfigError, DataError
from fedgin.files import PART, remove_parts, write_text
from fedgin.folders import FolderError, folder_to_itself

IMAGES, LABELS = "images", "labels"
# Holds the archive's origin; a hash, because a path may name a patient.
ORIGIN = ".source.sha256"
# Several archives may be brought into one folder, which a study then takes its sites from.
HOLDS = "sites of archives"


@dataclass(frozen=True)
class ArchiveSite:
    """What was made.

    Attributes:
        contract: the path of ``site.yaml``; :data:`~fedgin.data.importers.label_page.PAGE` is beside it.
        labels: organ to id, of the organs that some label shows.
        cases: the number in each split.
        drawn: splits that the archive does not have.
        empty: labels without any organ, whose cases are left out.
        overlaps: voxels that several masks claim, of the masks that were merged now.
    """

    contract: Path
    labels: dict[str, int]
    cases: Counter[Split]
    drawn: list[Split]
    empty: int
    overlaps: int


def write_archive_sites(
    archive: Archive,
    out: Path,
    rules: SplitRules,
    *,
    given: Mapping[str, Split] = MappingProxyType({}),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[ArchiveSite]:
    """Write a site for each modality of an archive.

    Args:
        archive: whose files stay as they are.
        out: folder of the sites; the same folder continues a run.
        rules: how patients are drawn for the splits that neither ``given`` nor the archive has.
        given: patients whose split is not the archive's, and not drawn.
        progress: called with the number of cases done and of all.

    Raises:
        FolderError: ``out`` is not ours to write, another process writes it, or the disk is full or has no links.
        DataError: a list of all labels and masks that cannot be read; what could be computed stays for the next run.
        ConfigError: ``given`` names a patient that the archive does not have, or that has another split in ``out``;
            or a site in ``out`` has other ids, or is of another archive of that name.
    """
    _refuse_strangers(given, archive)
    with folder_to_itself(out, HOLDS):
        for modality in {case.modality for case in archive.cases}:
            _refuse_another(_folder(out, archive, modality), archive)
        for modality in Modality:
            site = _folder(out, archive, modality)
            for folder in (site, site / IMAGES, site / LABELS):
                remove_parts(folder)
        organs, overlaps = _lay_out_all(archive, out, progress)
        division = _Division(rules, given)
        return [
            _write_site(archive, modality, out, division, organs, overlaps[modality]) for modality in sorted(overlaps)
        ]


def _lay_out_all(
    archive: Archive, out: Path, progress: Callable[[int, int], None]
) -> tuple[dict[str, frozenset[str]], Counter[Modality]]:
    """Lay out every case; return the organs that each shows, and the voxels that several masks claim."""
    organs, faults, overlaps = dict[str, frozenset[str]](), dict[str, list[str]](), Counter[Modality]()
    for done, case in enumerate(archive.cases, start=1):
        site = _folder(out, archive, case.modality)
        try:
            _lay_out(case.image, site / _image(case))
            overlaps[case.modality] += _lay_out(case.label, site / _label(case))
            organs[case.name] = _organs(case, archive, site)
        except DataError as error:
            faults[case.name] = [error.problem]
        except OSError as error:
            what = error.strerror or "the disk refused"
            raise FolderError(f"OUT cannot be written: {what}", "give a folder on a disk with room and links") from None
        progress(done, len(archive.cases))
    refuse_faults("has damaged files in", faults, "download or unpack these again; the same command continues")
    return organs, overlaps


def _folder(out: Path, archive: Archive, modality: Modality) -> Path:
    return out / f"{archive.name}-{modality.lower()}"


def _image(case: ArchiveCase) -> Path:
    return Path(IMAGES, case.name + _ending(case.image))


def _label(case: ArchiveCase) -> Path:
    return Path(LABELS, case.name + _ending(case.label))


def _ending(origin: Path | Derived) -> str:
    """Return the ending of a file in the site: a link must not call compressed what is not."""
    return ".nii" if isinstance(origin, Path) and origin.suffix == ".nii" else ".nii.gz"


def _lay_out(origin: Path | Derived, target: Path) -> int:
    """Link an original, or compute what is not there yet; return how many voxels several organs claim."""
    if isinstance(origin, Path):
        _link(origin, target)
        return 0
    return 0 if is_current(origin, target) else write_derived(origin, target)


def _link(original: Path, link: Path) -> None:
    wanted = os.path.realpath(original)
    if link.is_symlink() and os.readlink(link) == wanted:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    part = link.with_name(f"{PART}{os.getpid()}-{link.name}")
    part.unlink(missing_ok=True)
    part.symlink_to(wanted)
    part.replace(link)


def _case(case: ArchiveCase, archive: Archive, site: Path) -> Case:
    """Return a case as it is read; its split and number do not matter here."""
    return Case(site.name, case.modality, Split.TEST, 1, 1, site / _image(case), site / _label(case), archive.ids)


def _organs(case: ArchiveCase, archive: Archive, site: Path) -> frozenset[str]:
    """Return the organs that the label shows."""
    read = _case(case, archive, site)
    try:
        counts = count_ids(as_label_ids(read, load_volume(read, "label").voxels))
    except DataError as error:
        raise DataError(error.problem.removeprefix(f"{read}: "), error.fix) from None
    present = set(np.flatnonzero(counts).tolist())
    return frozenset(organ for organ, number in archive.ids.items() if number in present)


def _write_site(
    archive: Archive,
    modality: Modality,
    out: Path,
    division: "_Division",
    organs: Mapping[str, frozenset[str]],
    overlaps: int,
) -> ArchiveSite:
    site = _folder(out, archive, modality)
    ours = [case for case in archive.cases if case.modality is modality]
    cases = [case for case in ours if organs[case.name]]
    if not cases:
        raise DataError(f"no {modality} label shows any organ", "give an archive whose labels are filled")
    settled = read_settled(site)
    drawn, splits = division.split(cases, settled)
    write_settled(site, {**settled, **splits})
    lists = {split.value: [_entry(case) for case in cases if splits[case.patient] is split] for split in Split}
    write_text(site / DATALIST, json.dumps({"name": site.name, **lists}, indent=1) + "\n")
    # Only what some label shows: an organ that this archive never labels would be learnt as background.
    seen = frozenset[str]().union(*(organs[case.name] for case in cases))
    labels = {organ: number for organ, number in archive.ids.items() if organ in seen}
    if archive.origin:
        write_text(site / ORIGIN, archive.origin)
    if not (site / SITE).exists():
        contract = {"site": site.name, "modality": modality.value, "data_root": ".", "labels": labels}
        write_text(site / SITE, yaml.safe_dump(contract, sort_keys=False))
    examples = {organ: next(case for case in cases if organ in organs[case.name]) for organ in labels}
    shown = {organ: (case.name, _case(case, archive, site)) for organ, case in examples.items()}
    write_label_page(site / PAGE, site.name, labels, shown)
    counts = Counter(splits[case.patient] for case in cases)
    return ArchiveSite(site / SITE, labels, counts, drawn, len(ours) - len(cases), overlaps)


def _entry(case: ArchiveCase) -> dict[str, str]:
    return {"image": _image(case).as_posix(), "label": _label(case).as_posix(), "patient": case.patient}


@dataclass(frozen=True)
class _Division:
    """How patients are divided: as somebody gave it, else as the archive has it, else drawn by rules."""

    rules: SplitRules
    given: Mapping[str, Split]

    def split(self, cases: list[ArchiveCase], settled: Mapping[str, Split]) -> tuple[list[Split], dict[str, Split]]:
        """Return the splits that are drawn, and the split of each patient.

        A split that is neither given nor the archive's is drawn from the training patients and those without a split.
        Who got a split in an earlier run keeps it. A patient in several splits of the archive is held out.
        """
        patients = {case.patient for case in cases}
        given = {patient: split for patient, split in self.given.items() if patient in patients}
        moved = sorted(patient for patient, split in given.items() if settled.get(patient, split) is not split)
        if moved:
            raise ConfigError(f"in OUT these have another split: {', '.join(moved)}", "give another folder as OUT")
        held = {case.patient: Split.VALIDATION for case in cases if case.split is Split.VALIDATION}
        held |= {case.patient: Split.TEST for case in cases if case.split is Split.TEST}
        held |= given
        free = patients - held.keys()
        drawn = [split for split in (Split.VALIDATION, Split.TEST) if free and split not in held.values()]
        shares = {split.value: 0 for split in (Split.VALIDATION, Split.TEST) if split not in drawn}
        splits = split_patients(free, self.rules.model_copy(update=shares), settled)
        return drawn, splits | {patient: settled.get(patient, split) for patient, split in held.items()}


def _refuse_another(site: Path, archive: Archive) -> None:
    """Refuse an archive whose files would get the ``site.yaml`` of another: organs would change places."""
    labels = load_settings(site / SITE, SiteContract).labels if (site / SITE).exists() else {}
    known = labels.keys() & archive.ids.keys()  # an engineer may have renamed organs, or joined some
    if differ := sorted(organ for organ in known if archive.ids[organ] not in ids_of(labels[organ])):
        raise ConfigError(
            f"{SITE} of {site.name} in OUT has other ids than SOURCE for {', '.join(differ)}",
            "give another folder as OUT",
        )
    if archive.origin and (site / ORIGIN).is_file() and (site / ORIGIN).read_text("utf-8") != archive.origin:
        raise ConfigError(
            f"{site.name} in OUT is of another SOURCE, or {DATASET} named other organs",
            "give another folder as OUT, or SOURCE as before",
        )


def _refuse_strangers(given: Mapping[str, Split], archive: Archive) -> None:
    strangers = sorted(given.keys() - {case.patient for case in archive.cases})
    if strangers:
        some = ", ".join(strangers[:SHOWN] + ["..."] * (len(strangers) > SHOWN))
        raise ConfigError(f"--splits names patients that the archive does not have: {some}", "correct their names")

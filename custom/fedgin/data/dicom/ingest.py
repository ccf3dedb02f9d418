"""Turn a DICOM tree into a dataset: orchestration only; what is decided and how is in the neighbouring files."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from fedgin.data.datalist import Split
from fedgin.data.dicom.checks import check_series, take_apart
from fedgin.data.dicom.convert import read_voxels
from fedgin.data.dicom.facts import SliceHeader
from fedgin.data.dicom.header import quiet_reading
from fedgin.data.dicom.labels import lies_on, read_labels
from fedgin.data.dicom.ledger import Ledger, content_key
from fedgin.data.dicom.nifti import write_volume
from fedgin.data.dicom.nifti_labels import find_owners, list_label_files, read_label_files, stamp
from fedgin.data.dicom.private_table import private_table, write_private_table
from fedgin.data.dicom.pseudonyms import Pseudonyms, open_pseudonyms
from fedgin.data.dicom.quarantine import LeftOut, public_modality, write_quarantine
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.rules import IngestRules, LabelSource
from fedgin.data.dicom.scan import Progress, Scan, Series, scan_tree
from fedgin.data.dicom.site_files import Labelled, check_site_draft, write_datalist, write_site_draft
from fedgin.data.dicom.stack import Stack
from fedgin.errors import ConfigError, DataError, FedginError
from fedgin.files import remove_parts, writing

# The class for label maps (DICOM 2024) is not in pydicom's dictionary yet.
SEGMENTATIONS = (SegmentationStorage, "1.2.840.10008.5.1.4.1.1.66.7")
KINDS: dict[LabelSource, tuple[str, ...]] = {
    LabelSource.DICOM_SEG: SEGMENTATIONS,
    LabelSource.RTSTRUCT: (RTStructureSetStorage,),
}

T = TypeVar("T")


@dataclass
class IngestReport:
    """What a run did.

    Attributes:
        scan: what was in the tree.
        converted: images written by this run.
        kept: images that an earlier run had written from the same files.
        labelled: cases with a label volume.
        splits: number of cases in each split.
        left_out: everything that is not in the dataset, with its reason.
        nameless_patients: patients without a patient id, told apart by study, frame of reference or folder.
    """

    scan: Scan
    converted: int = 0
    kept: int = 0
    labelled: int = 0
    splits: Counter[Split] = field(default_factory=Counter)
    left_out: list[LeftOut] = field(default_factory=list)
    nameless_patients: int = 0


def ingest(source: Path, out: Path, rules: IngestRules, private: Path, progress: Progress) -> IngestReport:
    """Scan ``source`` and write what the rules select to ``out``; a second run continues a first one.

    Args:
        source: folder with DICOM files in any order.
        out: folder of the dataset; may exist.
        rules: what to take.
        private: folder of the key and the private table; must lie outside ``out`` and ``source``.
        progress: told what is going on.

    Raises:
        ConfigError: folders inside each other, a damaged key, or a ``site.yaml`` that contradicts the rules.
        DataError: no DICOM file.
        NotWrittenError: ``out`` or ``private`` cannot be written.
    """
    _refuse_nesting(source, out, private)
    with writing("the private folder"):
        pseudonyms = open_pseudonyms(private)
    check_site_draft(out, rules)
    label_files = list_label_files(rules.labels, out)
    with quiet_reading():
        scan = scan_tree(source, progress)
        scan.series = [part for series in scan.series for part in take_apart(series, rules)]
        if not scan.series and not scan.lost:
            raise DataError("DICOM_DIR holds no DICOM object", "give the folder that the PACS export wrote")
        with writing("OUT"):
            out.mkdir(parents=True, exist_ok=True)
        with writing("the private folder"):
            write_private_table(private_table(private, out), scan, label_files, pseudonyms)
        with writing("OUT"):
            return _Run(source, label_files, out, rules, pseudonyms, progress, IngestReport(scan)).finish()


def _refuse_nesting(source: Path, out: Path, private: Path) -> None:
    folders = {"DICOM_DIR": source.resolve(), "OUT": out.resolve(), "the private folder": private.resolve()}
    for inner, inside in folders.items():
        for outer, around in folders.items():
            if inner != outer and inside.is_relative_to(around):
                raise ConfigError(
                    f"{inner} lies in {outer}", "keep originals, dataset and private files in separate folders"
                )


@dataclass(frozen=True)
class _Labels:
    """Where the labels of a series come from: how to read them on its grid, and what changes when they do."""

    read: Callable[[Stack], NDArray[np.uint8] | Reason]
    files: list[SliceHeader]
    stamps: list[str] = field(default_factory=list)


@dataclass
class _Run:
    """The steps of one run over a finished scan."""

    source: Path
    label_files: list[Path]
    out: Path
    rules: IngestRules
    pseudonyms: Pseudonyms
    progress: Progress
    report: IngestReport
    slices_to_do: int = 0
    slices_done: int = 0

    def finish(self) -> IngestReport:
        for part in ("images", "labels"):
            remove_parts(self.out / part)
        images, segmentations = self._sort()
        stacks = self._convert(images)
        cases = self._label(stacks, segmentations)
        self._leave_out_lost()
        if self.rules.labels.source is not LabelSource.NONE:
            self.report.splits = write_datalist(self.out, self.rules, cases)
            write_site_draft(self.out, self.rules)
        keys = {series.facts.patient for series in images if not series.facts.has_patient_id}
        self.report.nameless_patients = len(keys)
        write_quarantine(self.out, self.report.left_out)
        return self.report

    def _sort(self) -> tuple[list[Series], list[Series]]:
        """Tell images from the segmentations of the kind that the rules take."""
        everything = self.report.scan.series
        kinds = KINDS.get(self.rules.labels.source, ())
        for series in everything:
            if series.facts.sop_class in SEGMENTATIONS and kinds is not SEGMENTATIONS:
                self._leave_out(series, Reason.NOT_SELECTED)
        segmentations = [series for series in everything if series.facts.sop_class in kinds]
        images = [series for series in everything if series.facts.sop_class not in (*SEGMENTATIONS, *kinds)]
        return images, segmentations

    def _convert(self, images: list[Series]) -> dict[str, Stack]:
        """Convert what passes the checks; return the stacks of what is now in the dataset by series key."""
        accepted: list[tuple[Series, Stack]] = []
        for series in images:
            checked = _guarded(partial(check_series, series, self.rules))
            if isinstance(checked, Reason):
                self._leave_out(series, checked)
            else:
                accepted.append((series, checked))
        self.slices_to_do = sum(len(stack.slices) for _, stack in accepted)
        stacks: dict[str, Stack] = {}
        for series, stack in accepted:
            reason = self._convert_one(series, stack)
            if reason is None:
                stacks[series.key] = stack
            else:
                self._leave_out(series, reason)
        return stacks

    def _convert_one(self, series: Series, stack: Stack) -> Reason | None:
        product = self._image(series)
        key = content_key(self.pseudonyms, series.slices, "image")
        if Ledger(self.out).is_done(product, key):
            self.report.kept += 1
            self._advance(len(stack.slices))
            return None
        before = self.slices_done
        voxels = _guarded(partial(read_voxels, stack, partial(self._advance, 1)))
        if isinstance(voxels, Reason):
            self._advance(before + len(stack.slices) - self.slices_done)
            return voxels
        self._write(product, voxels, stack, key)
        self.report.converted += 1
        return None

    def _advance(self, slices: int) -> None:
        self.slices_done += slices
        self.progress("converting slices", self.slices_done, self.slices_to_do)

    def _label(self, stacks: dict[str, Stack], segmentations: list[Series]) -> list[Labelled]:
        """Write the label volumes; return the cases that have one."""
        if self.rules.labels.source is LabelSource.NONE:
            return []
        nifti = self.rules.labels.source is LabelSource.NIFTI
        sources = self._label_files(stacks) if nifti else self._segmentations(stacks, segmentations)
        cases = []
        for done, series in enumerate((s for s in self.report.scan.series if s.key in stacks), start=1):
            case = self._label_one(series, stacks[series.key], sources.get(series.key))
            if case is not None:
                cases.append(case)
            self.progress("reading labels", done, len(stacks))
        self.report.labelled = len(cases)
        return cases

    def _segmentations(self, stacks: dict[str, Stack], segmentations: list[Series]) -> dict[str, "_Labels"]:
        """Return by series the segmentations that refer to it."""
        files: dict[str, list[SliceHeader]] = {}
        for series in segmentations:
            owners = {item.path: _series_of(item, stacks) for item in series.slices}
            for item in series.slices:
                for key in owners[item.path]:
                    files.setdefault(key, []).append(item)
            if not any(owners.values()):
                self._leave_out(series, Reason.LABEL_WITHOUT_IMAGE)
        return {key: _Labels(partial(read_labels, some, self.rules.labels), some) for key, some in files.items()}

    def _label_files(self, stacks: dict[str, Stack]) -> dict[str, "_Labels"]:
        """Return by series the label files that are named like it."""
        owners = find_owners(self.label_files, stacks, self.source)
        for path, reason in owners.refused.items():
            self.report.left_out.append(LeftOut("", self.pseudonyms.series(str(path)), "other", 1, reason))
        return {
            key: _Labels(partial(read_label_files, paths, self.rules), [], [stamp(path) for path in paths])
            for key, paths in owners.files.items()
        }

    def _label_one(self, series: Series, stack: Stack, source: "_Labels | None") -> Labelled | None:
        if source is None:
            self._leave_out(series, Reason.NO_LABEL)
            return None
        product = Path("labels") / f"{self._stem(series)}.nii.gz"
        case = Labelled(self._image(series), product, self.pseudonyms.patient(series.facts.patient))
        settings = ["label", self.rules.labels.model_dump_json(), *source.stamps]
        key = content_key(self.pseudonyms, [*source.files, *series.slices], *settings)
        if Ledger(self.out).is_done(product, key):
            return case
        labels = _guarded(partial(source.read, stack))
        if isinstance(labels, Reason):
            self._leave_out(series, labels)
            return None
        self._write(product, labels, stack, key)
        return case

    def _write(self, product: Path, voxels: NDArray[np.generic], stack: Stack, key: str) -> None:
        write_volume(self.out / product, voxels, stack.target)
        Ledger(self.out).record(product, key)

    def _leave_out_lost(self) -> None:
        for lost in self.report.scan.lost:
            series = self.pseudonyms.series(str(lost.path))
            self.report.left_out.append(LeftOut("", series, "other", 1, lost.reason))

    def _leave_out(self, series: Series, reason: Reason) -> None:
        facts = series.facts
        names = self.pseudonyms.patient(facts.patient), self.pseudonyms.series(series.key)
        self.report.left_out.append(LeftOut(*names, public_modality(facts.modality), series.files, reason))

    def _stem(self, series: Series) -> str:
        return f"{self.pseudonyms.patient(series.facts.patient)}_{self.pseudonyms.series(series.key)}"

    def _image(self, series: Series) -> Path:
        return Path("images") / f"{self._stem(series)}{'.nii.gz' if self.rules.compress else '.nii'}"


def _series_of(segmentation: SliceHeader, stacks: dict[str, Stack]) -> list[str]:
    """Return which of the converted series a segmentation labels: of several that it names, those it lies on."""
    named = [key for key in dict.fromkeys(segmentation.facts.references) if key in stacks]
    return [key for key in named if lies_on(segmentation, stacks[key])] or named if len(named) > 1 else named


def _guarded(step: Callable[[], T]) -> T | Reason:
    """One bad series never stops the rest; the text of a foreign error may quote a header, so it is dropped."""
    try:
        return step()
    except FedginError:
        raise
    except Exception:
        return Reason.NOT_READABLE

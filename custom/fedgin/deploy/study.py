"""A DICOM study to segmentations: every series of it that ingest would take, each by itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedgin.data.dicom.checks import check_series, take_apart
from fedgin.data.dicom.convert import read_voxels
from fedgin.data.dicom.header import quiet_reading
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.rules import IngestRules, LabelRules, LabelSource
from fedgin.data.dicom.scan import Progress, Scan, Series, scan_tree
from fedgin.data.dicom.segmentation import Algorithm, make_report, make_segmentation
from fedgin.data.dicom.sources import read_sources
from fedgin.data.dicom.stack import Stack
from fedgin.data.site import Modality
from fedgin.data.volumes import Volume
from fedgin.deploy.bundle import NOT_A_DEVICE, Bundle, bundle_name
from fedgin.deploy.predict import Prediction
from fedgin.errors import DataError
from fedgin.files import whole_file

MODALITIES = {item.value for item in Modality}


@dataclass(frozen=True)
class StudyImage:
    """A series of a study that can be segmented.

    Attributes:
        position: the position of the series among those of the study, from 1; results are named by it.
        stack: its slices.
        modality: the modality that its header states.
    """

    position: int
    stack: Stack
    modality: Modality

    def read(self) -> Volume | Reason:
        """Read the voxels, CT in Hounsfield units, or say why that cannot be done."""
        voxels = read_voxels(self.stack, lambda: None)
        return voxels if isinstance(voxels, Reason) else Volume(voxels, self.stack.target.get_affine("RAS"))


@dataclass(frozen=True)
class Refused:
    """A series that is not segmented, and why."""

    position: int
    reason: Reason


def read_study(folder: Path, progress: Progress) -> list[StudyImage | Refused]:
    """Return each series below a folder, ready or refused by the rules of ingest.

    Args:
        folder: the folder with the files of a study, in any order.
        progress: told of the reading of headers.

    Files that cannot be read and belong to none of the series are refused, too, once for each reason.

    Raises:
        DataError: there is no DICOM image of CT or MR, and nothing that could be one.
    """
    with quiet_reading():
        scan = scan_tree(folder, progress)
        # Segmentations, reports and presentation states of a study are no images to segment.
        images = [series for series in scan.series if series.facts.modality in MODALITIES]
        if not images and not scan.lost:
            raise DataError("the folder holds no CT or MR series", "give the folder of a DICOM study")
        found = [part for series in images for part in _parts(series)]
        found += _lost(scan, images)
        return [_check(position, part) for position, part in enumerate(found, start=1)]


def write_objects(folder: Path, name: str, image: StudyImage, prediction: Prediction, bundle: Bundle) -> Iterator[Path]:
    """Write the DICOM SEG and the SR of a prediction; yield their paths.

    Args:
        folder: to write into.
        name: the name of the files, before ``_seg.dcm`` and ``_sr.dcm``.
        image: that was segmented.
        prediction: the prediction for it.
        bundle: that segmented.

    Raises:
        DataError: the images lack identifiers, or no organ was found, so that there is nothing to refer to.
    """
    if not prediction.labels.any():
        raise DataError("no organ was found, so there is no DICOM SEG", "look at the image and at the model card")
    notes = ("Research only", NOT_A_DEVICE, *(f"Warning: {warning}" for warning in prediction.warnings))
    algorithm = Algorithm(bundle_name(bundle.provenance), bundle.provenance.version, bundle.sha256, notes)
    with quiet_reading():
        sources = read_sources(image.stack)
        organs = list(bundle.experiment.organs)
        segmentation = make_segmentation(sources, image.stack, prediction.labels, organs, algorithm)
        report = make_report(sources, segmentation, prediction.volumes_ml, algorithm)
    for ending, dataset in (("seg", segmentation), ("sr", report)):
        path = folder / f"{name}_{ending}.dcm"
        with whole_file(path) as part:
            dataset.save_as(part)
        yield path


def _parts(series: Series) -> list[Series | Reason]:
    try:
        return [*take_apart(series, _rules(series))]
    except Exception:  # one bad series never stops the others
        return [Reason.NOT_READABLE]


def _lost(scan: Scan, images: list[Series]) -> list[Series | Reason]:
    """Return why files cannot be read that may be images, where no series is refused for them."""
    if len(scan.lost) <= sum(series.lost for series in images):
        return []
    return [*dict.fromkeys(item.reason for item in scan.lost)]


def _check(position: int, series: Series | Reason) -> StudyImage | Refused:
    if isinstance(series, Reason):
        return Refused(position, series)
    try:
        checked = check_series(series, _rules(series))
    except Exception:  # one bad series never stops the others
        checked = Reason.NOT_READABLE
    if isinstance(checked, Reason):
        return Refused(position, checked)
    return StudyImage(position, checked, Modality(series.facts.modality))


def _rules(series: Series) -> IngestRules:
    modality = Modality(series.facts.modality)
    return IngestRules(site="study", modality=modality, labels=LabelRules(source=LabelSource.NONE))

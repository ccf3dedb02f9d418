"""Segment everything an input holds and write the results; one bad image never stops the others."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fedgin.data.dicom.header import looks_like_dicom
from fedgin.data.dicom.reasons import Reason
from fedgin.data.nifti_file import names_nifti, nifti_files, nifti_stem
from fedgin.data.site import Modality
from fedgin.data.tree import Folder, is_hidden, walk_folders
from fedgin.data.volumes import Volume
from fedgin.deploy.predict import Prediction, Segmenter, guess_modality, read_nifti, write_labels
from fedgin.deploy.study import Refused, StudyImage, read_study, write_objects
from fedgin.errors import DataError, FedginError, NotWrittenError, unforeseen
from fedgin.files import write_text, writing
from fedgin.folders import read_mark

RESULT = "result.json"
# What a folder of results holds, before of which input and by which bundle.
PREDICTIONS = "predictions"
REPORT_IT = "report it with this line"
Progress = Callable[[str, int, int], None]


@dataclass
class Result:
    """What became of one image.

    Attributes:
        name: the name of the NIfTI file without its ending, or ``series-N`` of a DICOM study.
        modality: as the header says, or as the grey values of a NIfTI image tell; empty where it was not read.
        volumes_ml: the volumes in millilitres, by organ.
        warnings: in what it is unlike the training.
        files: that were written, by name.
        problem: why it was not segmented, or not written as DICOM; empty where all went well.
    """

    name: str
    modality: str = ""
    volumes_ml: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    files: list[str] = field(default_factory=list)
    problem: str = ""


OnSegmented = Callable[[Result, Volume, Prediction], None]


def predict(
    segmenter: Segmenter,
    source: Path,
    out: Path,
    progress: Progress,
    on_segmented: OnSegmented = lambda result, image, prediction: None,
) -> list[Result]:
    """Segment a NIfTI file, each NIfTI file of a folder, or each series of a DICOM study.

    Args:
        segmenter: the segmenter that used the bundle.
        source: what to segment.
        out: folder for the results; made when missing.
        progress: told which image is worked on, how many are done and how many there are.
        on_segmented: gets each image that was segmented, while it is in memory.

    Returns:
        one result an image; they are in ``out/result.json``, too.

    Raises:
        DataError: there is nothing to segment, or NIfTI and DICOM files are in one folder.
        NotWrittenError: the results cannot be written.
        OSError: the input cannot be read.
    """
    results: list[Result] = []
    images = list(_images(source, progress))
    for done, (name, image) in enumerate(images):
        progress(f"segmenting {name}", done, len(images))
        results.append(_one(segmenter, name, image, out, on_segmented))
    progress("done", len(images), len(images))
    record = {
        "bundle": segmenter.bundle.provenance.run,
        "weights_sha256": segmenter.bundle.sha256,
        "results": [asdict(result) for result in results],
    }
    with writing("the results"):
        write_text(out / RESULT, json.dumps(record, indent=1) + "\n")
    return results


def _images(source: Path, progress: Progress) -> Iterator[tuple[str, Path | StudyImage | Refused]]:
    if source.is_file():
        yield nifti_stem(source), source
        return
    if not source.is_dir():
        raise DataError("INPUT does not exist", "give a NIfTI file, a folder of them, or a DICOM study")
    files: list[Path] = []
    with contextlib.suppress(OSError):  # of a folder that may not be listed the reader of studies says so
        files = nifti_files(source)
    _refuse_what_would_be_passed_over(source, files)
    if len({nifti_stem(path) for path in files}) < len(files):
        raise DataError("two files differ in their endings .nii and .nii.gz alone", "rename one of them")
    if files:
        yield from ((nifti_stem(path), path) for path in files)
    else:
        yield from ((f"series-{item.position}", item) for item in read_study(source, progress))


def _refuse_what_would_be_passed_over(source: Path, files: list[Path]) -> None:
    """Refuse a folder with NIfTI files in folders below it, with a study among them, or with one behind links."""
    # Results of ours may lie in the input.
    folders = list(walk_folders(source, passes_over=_holds_predictions))
    visible = [item for item in folders if not is_hidden(item.path, source)]
    nested = [item for item in visible if item.path != source and any(map(names_nifti, item.names))]
    if (files or nested) and any(map(_holds_dicom, folders)):
        raise DataError("INPUT holds NIfTI and DICOM files", "give each a folder of its own, and name one of them")
    if nested:
        where = "1 folder" if len(nested) == 1 else f"{len(nested)} folders"
        problem = f"INPUT holds NIfTI files in {where} below it, which would not be segmented"
        raise DataError(problem, "put the files into one folder, or give one folder after the other")
    if any(_holds_dicom(item) for item in visible if item.linked):  # readers of studies follow no links
        problem = "INPUT holds DICOM files behind links to folders, which would not be segmented"
        raise DataError(problem, "give the folders that the links lead to, one after the other")


def _holds_predictions(folder: Path) -> bool:
    mark = read_mark(folder)
    return mark is not None and mark.holds.startswith(PREDICTIONS)


def _holds_dicom(folder: Folder) -> bool:
    return any(_is_dicom(folder.path / name) for name in folder.names)


def _is_dicom(path: Path) -> bool:
    try:
        if not path.is_file():  # a pipe would make us wait
            return False
        with path.open("rb") as file:
            return looks_like_dicom(file.read(132))
    except OSError:
        return False


def _one(
    segmenter: Segmenter, name: str, image: Path | StudyImage | Refused, out: Path, on_segmented: OnSegmented
) -> Result:
    result = Result(name)
    try:
        volume, modality = _read(image)
        result.modality = modality.value
        prediction = segmenter.segment(volume, modality)
        result.volumes_ml, result.warnings = prediction.volumes_ml, prediction.warnings
        on_segmented(result, volume, prediction)
        _write(result, image, volume, prediction, segmenter, out)
    except NotWrittenError:
        raise
    except FedginError as error:
        result.problem = str(error)
    except Exception as error:  # libraries raise many kinds, with header values in their text
        result.problem = str(unforeseen(error, f"segment {name}", REPORT_IT))
    return result


def _read(image: Path | StudyImage | Refused) -> tuple[Volume, Modality]:
    if isinstance(image, Path):
        volume = read_nifti(image)
        return volume, guess_modality(volume)
    read = image.reason if isinstance(image, Refused) else image.read()
    if isinstance(read, Reason):
        _, problem, fix = read.value
        raise DataError(problem, fix)
    assert isinstance(image, StudyImage)
    return read, image.modality


def _write(
    result: Result,
    image: Path | StudyImage | Refused,
    volume: Volume,
    prediction: Prediction,
    segmenter: Segmenter,
    out: Path,
) -> None:
    with writing("the results"):
        labels = out / f"{result.name}_seg.nii.gz"
        write_labels(labels, prediction.labels, volume.affine)
        result.files.append(labels.name)
        if isinstance(image, StudyImage):
            for path in write_objects(out, result.name, image, prediction, segmenter.bundle):
                result.files.append(path.name)

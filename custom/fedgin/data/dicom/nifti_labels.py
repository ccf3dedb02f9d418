"""NIfTI label files of a series: which file is whose, and its ids as organs on the grid of the image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedgin.data.datalist import Case, Split
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.rules import IngestRules, LabelRules, LabelSource
from fedgin.data.dicom.stack import POSITION_TOLERANCE_MM, Stack
from fedgin.data.nifti_file import nifti_files, nifti_stem
from fedgin.data.nifti_header import largest_distance_mm
from fedgin.data.site import OTHERS
from fedgin.data.volumes import map_organs, read_label, with_axes_of
from fedgin.errors import ConfigError, DataError


@dataclass
class Owners:
    """Which label file belongs to which series.

    Attributes:
        files: the label files of each series that has one, by series key.
        refused: the label files that belong to no series, with the reason.
    """

    files: dict[str, list[Path]] = field(default_factory=dict)
    refused: dict[Path, Reason] = field(default_factory=dict)


def list_label_files(rules: LabelRules, out: Path) -> list[Path]:
    """Return the NIfTI files directly in the folder of the rules, sorted; none for another source of labels.

    Raises:
        ConfigError: the folder does not exist, cannot be read, holds no NIfTI file, or lies in ``out``.
    """
    if rules.source is not LabelSource.NIFTI or rules.folder is None:
        return []
    if rules.folder.resolve().is_relative_to(out.resolve()):
        raise ConfigError("'labels.folder' lies in OUT", "keep the labels and the dataset in separate folders")
    try:
        files = [path for path in nifti_files(rules.folder) if path.is_file()]
    except OSError as error:
        raise ConfigError(
            f"'labels.folder' cannot be read: {error.strerror}", "correct the path or the rights"
        ) from None
    if not files:
        raise ConfigError("'labels.folder' holds no .nii or .nii.gz file", "give the folder that holds the label files")
    return files


def find_owners(files: Sequence[Path], stacks: Mapping[str, Stack], source: Path) -> Owners:
    """Give each label file to the series of its name: the series UID, or a folder that holds no other such series.

    Args:
        files: the label files.
        stacks: the converted series by key.
        source: DICOM_DIR; its own name and the folders above it name no series.
    """
    by_name: dict[str, set[str]] = {}
    for key, stack in stacks.items():
        folders = {part for item in stack.slices for part in item.path.parent.relative_to(source).parts}
        for name in {key, *folders}:
            by_name.setdefault(name, set()).add(key)
    owners = Owners()
    for path in files:
        series = sorted(by_name.get(nifti_stem(path), ()))
        if len(series) == 1:
            owners.files.setdefault(series[0], []).append(path)
        else:
            owners.refused[path] = Reason.LABEL_AMBIGUOUS if series else Reason.LABEL_WITHOUT_IMAGE
    return owners


def read_label_files(files: Sequence[Path], rules: IngestRules, stack: Stack) -> NDArray[np.uint8] | Reason:
    """Read the label file of a series.

    Args:
        files: those that are named like the series; one is right.
        rules: which ids become which organs.
        stack: the series.

    Returns:
        Ids [X, Y, Z] on ``stack.target``, 0 where no organ is, or the reason why there is no such volume.
    """
    if len(files) > 1:
        return Reason.LABEL_TWICE
    case = _as_case(files[0], rules)
    affine = stack.target.get_affine("RAS")
    try:
        label = with_axes_of(affine, read_label(case))
    except DataError:
        return Reason.LABEL_FILE
    shape = stack.target.spatial_shape
    if label.voxels.shape != shape or largest_distance_mm(affine, label.affine, shape) > POSITION_TOLERANCE_MM:
        return Reason.LABEL_GRID
    labels = map_organs(case, label, list(rules.labels.ids))
    return labels if rules.labels.shows_all(labels) else Reason.LABEL_NAMES


def stamp(path: Path) -> str:
    """Return what changes when a label file is written again."""
    status = path.stat()
    return f"{path.name}|{status.st_size}|{status.st_mtime_ns}"


def _as_case(path: Path, rules: IngestRules) -> Case:
    """Say of a label file what the reader of datasets must know: its ids; others are background."""
    ids: dict[str, tuple[int, ...]] = {}
    for number, organ in rules.labels.map.items():
        ids[organ] = (*ids.get(organ, ()), int(number))
    return Case(rules.site, rules.modality, Split.TRAINING, 1, 1, path, path, ids, ignore=OTHERS)

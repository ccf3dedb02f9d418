"""nnU-Net's raw layout: ``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz``, and what ``dataset.json`` says."""

from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, Field

from fedgin.config import parse_settings
from fedgin.data.datalist import Split
from fedgin.data.importers.archive import Archive, ArchiveCase, is_there, refuse_faults
from fedgin.data.importers.dataset_json import (
    DATASET,
    name_of,
    only_modality,
    organ_ids,
    origin_of,
    require_dataset,
)
from fedgin.data.importers.folder_pairs import CHANNEL, patient_of
from fedgin.documents import read_json
from fedgin.errors import DataError

FOLDERS = {Split.TRAINING: ("imagesTr", "labelsTr"), Split.TEST: ("imagesTs", "labelsTs")}
ENDINGS = (".nii.gz", ".nii")
MEND = "unpack or download these again; or take the other file of each out and correct numTraining"


class _Dataset(BaseModel):
    """What is read of ``dataset.json``; version 1 said ``modality`` for ``channel_names``."""

    channels: dict[str, str] = Field(validation_alias=AliasChoices("channel_names", "modality"))
    labels: dict[str, Any]
    training: int = Field(validation_alias="numTraining")
    ending: str = Field(default=".nii.gz", validation_alias="file_ending")


def read_nnunet(source: Path) -> Archive:
    """Return what the dataset holds; images in ``imagesTs`` without a label are left out.

    Raises:
        ConfigError: ``dataset.json`` is damaged.
        DataError: it is missing, or has several channels or regions, or a list of all that is missing or twice there.
    """
    require_dataset(source)
    dataset = parse_settings(read_json(source / DATASET, source=DATASET), _Dataset, source=DATASET)
    if dataset.ending not in ENDINGS:
        raise DataError(f"the files end in '{dataset.ending}'", "write them as .nii.gz; PNG slices: fedgin site init")
    modality, ids = only_modality(dataset.channels), organ_ids(dataset.labels)
    faults, cases, unlabelled = dict[str, list[str]](), list[ArchiveCase](), 0
    for split, (images, labels) in FOLDERS.items():
        pictures = _files(source / images, f"_{CHANNEL}{dataset.ending}")
        drawn = _files(source / labels, dataset.ending)
        names = pictures.keys() | drawn.keys() if split is Split.TRAINING else drawn.keys()
        unlabelled += len(pictures.keys() - names)
        for name in sorted(names):
            files = (source / images / f"{name}_{CHANNEL}{dataset.ending}", source / labels / f"{name}{dataset.ending}")
            missing = [str(path.relative_to(source)) for path in files if not is_there(path)]
            faults[name] = missing + (["only one of this name in imagesTr and imagesTs"] if name in faults else [])
            cases.append(ArchiveCase(name, patient_of(Path(name)), modality, *files, split))
    trained = sum(case.split is Split.TRAINING for case in cases)
    if trained != dataset.training:
        faults[DATASET] = [f"{dataset.training} training cases by numTraining, of which {trained} are there"]
    refuse_faults("lacks files of", faults, MEND)
    return Archive(name_of(source), cases, ids, unlabelled, origin=origin_of(source, ids))


def _files(folder: Path, ending: str) -> dict[str, Path]:
    found = sorted(path for path in folder.glob(f"*{ending}") if not path.name.startswith("."))
    return {path.name.removesuffix(ending): path for path in found}

"""The Medical Segmentation Decathlon and what is laid out like it: ``dataset.json`` lists every file."""

from pathlib import Path

from pydantic import BaseModel

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
from fedgin.data.importers.folder_pairs import patient_of
from fedgin.documents import read_json
from fedgin.errors import DataError

MEND = f"unpack or download these again; or take their entries out of {DATASET}"


class _Entry(BaseModel):
    image: str
    label: str


class _Dataset(BaseModel):
    """What is read of ``dataset.json``."""

    modality: dict[str, str]
    labels: dict[str, str]
    training: list[_Entry]
    validation: list[_Entry] = []
    test: list[_Entry | str] = []


def read_decathlon(source: Path) -> Archive:
    """Return what the archive holds; test images are listed without labels and are left out.

    Raises:
        ConfigError: ``dataset.json`` is damaged.
        DataError: it is missing, or has several channels, or a list of all that is missing.
    """
    require_dataset(source)
    dataset = parse_settings(read_json(source / DATASET, source=DATASET), _Dataset, source=DATASET)
    modality, ids = only_modality(dataset.modality), organ_ids(dataset.labels)
    entries = [(Split.TRAINING, entry) for entry in dataset.training]
    entries += [(Split.VALIDATION, entry) for entry in dataset.validation]
    entries += [(Split.TEST, entry) for entry in dataset.test if isinstance(entry, _Entry)]
    cases: dict[str, ArchiveCase] = {}
    faults: dict[str, list[str]] = {}
    for split, entry in entries:
        name = Path(entry.image).name.removesuffix(".gz").removesuffix(".nii")
        faults[name] = _faults(source, entry) + (["only one entry"] if name in faults else [])
        patient = patient_of(Path(Path(entry.label).name))
        cases[name] = ArchiveCase(name, patient, modality, source / entry.image, source / entry.label, split)
    refuse_faults("lacks files of", faults, MEND)
    if not cases:
        raise DataError(f"{DATASET} lists no case with a label", "give the folder as it was unpacked")
    listed = [cases[name] for name in sorted(cases)]
    unlabelled = sum(isinstance(entry, str) for entry in dataset.test)
    return Archive(name_of(source), listed, ids, unlabelled, origin=origin_of(source, ids))


def _faults(source: Path, entry: _Entry) -> list[str]:
    files = (entry.image, entry.label)
    return [file for file in files if ".." in Path(file).parts or not _is_volume(source / file)]


def _is_volume(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz")) and is_there(path)

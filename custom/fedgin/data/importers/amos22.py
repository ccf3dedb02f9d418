"""AMOS22: CT and MR with labels of fifteen organs, listed in ``dataset.json``."""

import re
from pathlib import Path

from pydantic import BaseModel

from fedgin.config import parse_settings
from fedgin.data.datalist import Split
from fedgin.data.importers.archive import Archive, ArchiveCase, is_there, refuse_faults
from fedgin.data.importers.dataset_json import DATASET
from fedgin.data.importers.label_ids import AMOS22_IDS
from fedgin.data.organ_names import organ_of
from fedgin.data.site import Modality
from fedgin.documents import read_json
from fedgin.errors import DataError

# Case numbers above are MR.
LAST_CT = 500
MEND = f"unpack or download these again; or take their entries out of {DATASET}"


class _Entry(BaseModel):
    image: str
    label: str | None = None


class _Dataset(BaseModel):
    """What is read of ``dataset.json``."""

    labels: dict[str, str]
    training: list[_Entry]
    validation: list[_Entry] = []
    test: list[_Entry | str] = []


def read_amos22(source: Path) -> Archive:
    """Return what the archive holds. Test labels are secret, so a test image without one is left out.

    Raises:
        ConfigError: ``dataset.json`` is damaged.
        DataError: it is missing or numbers other organs, or a list of all that is missing.
    """
    if not is_there(source / DATASET):
        raise DataError(f"SOURCE has no {DATASET}", "give the folder of AMOS22 as it was unpacked")
    dataset = parse_settings(read_json(source / DATASET, source=DATASET), _Dataset, source=DATASET)
    _refuse_other_organs(dataset.labels)
    test = [entry if isinstance(entry, _Entry) else _Entry(image=entry) for entry in dataset.test]
    listed = [(Split.TRAINING, entry) for entry in dataset.training]
    listed += [(Split.VALIDATION, entry) for entry in dataset.validation]
    labelled = [(Split.TEST, entry) for entry in test if is_there(source / _label(entry))]
    cases: dict[str, ArchiveCase] = {}
    faults: dict[str, list[str]] = {}
    for split, entry in listed + labelled:
        name = Path(entry.image).name.removesuffix(".nii.gz")
        faults[name] = _faults(source, entry) + (["only one entry"] if name in cases else [])
        if not faults[name]:
            cases[name] = ArchiveCase(name, name, _modality(name), source / entry.image, source / _label(entry), split)
    refuse_faults("lacks files of", faults, MEND)
    if not cases:
        raise DataError(f"{DATASET} lists no case with a label", "give the folder of AMOS22 as it was unpacked")
    return Archive("amos22", [cases[name] for name in sorted(cases)], AMOS22_IDS, len(test) - len(labelled))


def _label(entry: _Entry) -> str:
    """Return where the label is; where the entry does not say, in the folder that belongs to the image's."""
    return entry.label or entry.image.replace("images", "labels", 1)


def _faults(source: Path, entry: _Entry) -> list[str]:
    files = [entry.image, _label(entry)]
    if not re.fullmatch(r"amos_\d{4}\.nii\.gz", Path(entry.image).name):
        return [f"a name such as amos_0001.nii.gz for {entry.image}"]
    return [
        file for file in files if ".." in Path(file).parts or Path(file).is_absolute() or not is_there(source / file)
    ]


def _modality(name: str) -> Modality:
    return Modality.CT if int(name.split("_")[1]) <= LAST_CT else Modality.MR


def _refuse_other_organs(labels: dict[str, str]) -> None:
    """Refuse another numbering; the archive's own slips, such as 'arota', mean what they are a slip of."""
    organs = {str(number): organ for organ, number in AMOS22_IDS.items()}
    given = {number: organ_of(text, slips=True) for number, text in labels.items() if number != "0"}
    wrong = sorted(number for number in given.keys() | organs.keys() if given.get(number) != organs.get(number))
    if wrong:
        raise DataError(
            f"{DATASET} numbers other organs than AMOS22 does, at {', '.join(wrong)}",
            "give AMOS22 as it was unpacked; other folders of images and labels: fedgin site init",
        )

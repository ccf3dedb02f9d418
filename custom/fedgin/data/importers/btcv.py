"""BTCV, the abdomen of "Multi-Atlas Labeling Beyond the Cranial Vault": CT with labels of thirteen organs."""

import re
from pathlib import Path

from fedgin.data.importers.archive import Archive, ArchiveCase, is_there, refuse_faults
from fedgin.data.importers.label_ids import BTCV_IDS
from fedgin.data.site import Modality
from fedgin.errors import DataError

TRAINING, TESTING = ("RawData/Training", "Training", "."), ("RawData/Testing", "Testing")
IMAGES, LABELS = "img", "label"
# The numbers of the cases whose labels were published.
PUBLISHED = (*range(1, 11), *range(21, 41))
MEND = "unpack or download these again; or take the other file of each out"


def read_btcv(source: Path) -> Archive:
    """Return what the archive holds; test labels are secret.

    Raises:
        DataError: no such archive, or a list of all that is missing.
    """
    folder = next((source / place for place in TRAINING if (source / place / LABELS).is_dir()), source)
    images, labels = _numbered(folder, IMAGES), _numbered(folder, LABELS)
    if not images or not labels:
        raise DataError(
            f"SOURCE has no {TRAINING[0]} with {IMAGES}/img0001.nii.gz and {LABELS}/label0001.nii.gz",
            "give the folder that RawData.zip was unpacked to",
        )
    faults = {number: _faults(images.get(number), labels.get(number), number) for number in images.keys() | labels}
    refuse_faults("lacks files of", faults, MEND)
    cases = [
        ArchiveCase(number, number, Modality.CT, images[number], labels[number], None) for number in sorted(images)
    ]
    tested = sum(len(_numbered(source / place, IMAGES)) for place in TESTING)
    absent = [number for number in (f"{one:04}" for one in PUBLISHED) if number not in images]
    return Archive("btcv", cases, BTCV_IDS, tested, absent)


def _numbered(folder: Path, role: str) -> dict[str, Path]:
    found = {path: re.fullmatch(rf"{role}(\d{{4}})\.nii(\.gz)?", path.name) for path in (folder / role).glob("*")}
    return {match[1]: path for path, match in found.items() if match}


def _faults(image: Path | None, label: Path | None, number: str) -> list[str]:
    files = ((IMAGES, image), (LABELS, label))
    return [f"{role}/{role}{number}.nii.gz" for role, path in files if path is None or not is_there(path)]

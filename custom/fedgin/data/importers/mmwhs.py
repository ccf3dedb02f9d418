"""MM-WHS: CT and MR of the whole heart, labels with values from 205 to 850."""

import re
from pathlib import Path

from fedgin.data.importers.archive import Archive, ArchiveCase, is_there, refuse_faults
from fedgin.data.importers.label_ids import MMWHS_IDS, MMWHS_VALUES
from fedgin.data.importers.renumbered import Renumbered
from fedgin.data.site import Modality
from fedgin.data.tree import walk_folders
from fedgin.errors import DataError

# The numbers of the cases whose labels were published, of CT and of MR; these are other patients.
PUBLISHED = range(1001, 1021)
ROLES = ("image", "label")
IDS = {value: MMWHS_IDS[organ] for value, organ in MMWHS_VALUES.items()}
MEND = "unpack or download these again; or take the other file of each out"


def read_mmwhs(source: Path) -> Archive:
    """Return what the archive holds, wherever under ``source`` its folders were unpacked. Test labels are secret.

    Raises:
        DataError: no such archive, or a list of all that is missing.
    """
    files = _files(source)
    names = sorted({name for name, _ in files if "_train_" in name})
    if not names:
        raise DataError(
            "SOURCE has no file such as ct_train_1001_image.nii.gz or mr_train_1001_label.nii.gz",
            "give the folder that ct_train and mr_train were unpacked to",
        )
    faults = {name: [fault for role in ROLES for fault in _faults(files, name, role)] for name in names}
    refuse_faults("lacks files of", faults, MEND)
    cases = [
        ArchiveCase(
            name,
            name,
            Modality(name[:2].upper()),
            files[name, "image"][0],
            Renumbered(files[name, "label"][0], IDS),
            None,
        )
        for name in names
    ]
    absent = [
        name
        for modality in sorted({name[:2] for name in names})
        for name in (f"{modality}_train_{number}" for number in PUBLISHED)
        if name not in names
    ]
    tested = sum("_test_" in name and role == "image" for name, role in files)
    return Archive("mmwhs", cases, MMWHS_IDS, tested, absent)


def _files(source: Path) -> dict[tuple[str, str], list[Path]]:
    pattern = re.compile(r"((?:ct|mr)_(?:train|test)_\d{4})_(image|label)\.nii(?:\.gz)?")
    found: dict[tuple[str, str], list[Path]] = {}
    # Some programs unpack a file into a folder of its name, which is none of the names of files.
    for path in sorted(item.path / name for item in walk_folders(source) for name in item.names):
        if match := pattern.fullmatch(path.name):
            found.setdefault((match[1], match[2]), []).append(path)
    return found


def _faults(files: dict[tuple[str, str], list[Path]], name: str, role: str) -> list[str]:
    paths = files.get((name, role), [])
    if len(paths) > 1:
        return [f"only one {name}_{role}"]
    return [] if paths and is_there(paths[0]) else [f"{name}_{role}.nii.gz"]

"""What an archive of a public data set holds; each format has a reader that says so before anything is written.

The cases of such archives have public numbers in place of names, so errors may name their files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedgin.data.datalist import Split
from fedgin.data.importers.derived import Derived
from fedgin.data.site import Modality
from fedgin.errors import DataError

SHOWN = 20


@dataclass(frozen=True)
class ArchiveCase:
    """One image with its label.

    Attributes:
        name: of the case.
        patient: whose case it is; all cases of a patient are in one split.
        modality: of the image.
        image: the image file, or how it is computed.
        label: the label file, or how it is computed.
        split: as the archive has it; ``None`` where it has none.
    """

    name: str
    patient: str
    modality: Modality
    image: Path | Derived
    label: Path | Derived
    split: Split | None


@dataclass(frozen=True)
class Archive:
    """A whole archive: every file that it should have is there.

    Attributes:
        name: begins the sites' names.
        cases: in the order of their names.
        ids: organ to its id in the label files, or in the computed ones.
        unlabelled: images without a label, which no site uses.
        absent: published cases that are not there; a part of an archive is no fault.
        origin: hash of its folder and of ``ids``, where two archives can have one name; else empty.
    """

    name: str
    cases: list[ArchiveCase]
    ids: Mapping[str, int]
    unlabelled: int = 0
    absent: Sequence[str] = ()
    origin: str = ""


def refuse_faults(what: str, faults: Mapping[str, list[str]], fix: str) -> None:
    """Refuse an archive with all that is wrong with it, by case.

    Args:
        what: is said of the files, such as ``lacks files of``.
        faults: case to files and what is wrong with them; a case without any is right.
        fix: what to do.

    Raises:
        DataError: a case has faults.
    """
    wrong = [f"{name}: {', '.join(faults[name])}" for name in sorted(faults) if faults[name]]
    if wrong:
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise DataError(f"the archive {what} {len(wrong)} cases: {'; '.join(wrong[:SHOWN] + more)}", fix)


def is_there(path: Path) -> bool:
    """Tell whether a file is there and not empty, as one is whose download was broken off at once."""
    return path.is_file() and path.stat().st_size > 0

"""Walk an unknown folder and group what is DICOM by series; reads headers only."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import MediaStorageDirectoryStorage

from fedgin.data.dicom.copies import drop_copies
from fedgin.data.dicom.facts import Facts, SliceHeader
from fedgin.data.dicom.header import DamagedHeaderError, HeaderReader
from fedgin.data.dicom.reasons import Reason
from fedgin.errors import DataError

# Told (what is going on, done, total); called often.
Progress = Callable[[str, int, int], None]
# Exports name slices so, or without suffix, or with a number for one.
_SUFFIXES = ("", ".dcm", ".dicom", ".dic", ".ima")


@dataclass
class Series:
    """The files of one series, in the order of their paths.

    Attributes:
        key: private: the series UID or its stand-in.
        slices: at least one.
        lost: number of files that cannot be read and are, or may be, slices of the series.
        part: what makes it a part of a series that holds several volumes; private, as everything from a header.
        refused: why this part is not used, where that is known already.
    """

    key: str
    slices: list[SliceHeader] = field(default_factory=list)
    lost: int = 0
    part: str = ""
    refused: Reason | None = None

    @property
    def files(self) -> int:
        """Return the number of files."""
        return len({item.path for item in self.slices})

    @property
    def facts(self) -> Facts:
        """Return the facts of the first file."""
        return self.slices[0].facts

    @property
    def all_facts(self) -> list[Facts]:
        """Return every distinct set of facts, the first file's first; a sound series has one or few."""
        return list({id(item.facts): item.facts for item in self.slices}.values())


@dataclass(frozen=True)
class Lost:
    """A file or folder that cannot be read.

    Attributes:
        path: private.
        reason: why.
        series: private key of the series it belongs to, where its header says so.
    """

    path: Path
    reason: Reason
    series: str = ""


@dataclass
class Scan:
    """What is in a tree.

    Attributes:
        series: sorted by key.
        lost: damaged files, and files and folders that the system does not let us read.
        copies: number of files that were dropped because another one holds the same slice.
        not_dicom: number of files that are something else.
        directories: number of DICOMDIR files; they are not needed, every file is read.
        links: number of links to folders; they are not followed.
    """

    series: list[Series] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    copies: int = 0
    not_dicom: int = 0
    directories: int = 0
    links: int = 0

    @property
    def unreadable(self) -> int:
        """Return the number of files and folders that the system does not let us read."""
        return sum(item.reason in (Reason.CLOSED_FILE, Reason.CLOSED_FOLDER) for item in self.lost)


def scan_tree(root: Path, progress: Progress) -> Scan:
    """Read the header of every file under ``root``; links to folders are not followed.

    Raises:
        DataError: ``root`` is no folder.
    """
    if not root.is_dir():
        raise DataError("the DICOM folder does not exist", "check the path given as DICOM_DIR")
    scan, groups, reader = Scan(), dict[str, Series](), HeaderReader()
    paths = _walk(root, scan)
    for done, path in enumerate(paths, start=1):
        _take(path, reader, scan, groups)
        progress("reading headers", done, len(paths))
    scan.series = [groups[key] for key in sorted(groups)]
    for series in scan.series:
        kept = drop_copies(series.slices)
        scan.copies += len(series.slices) - len(kept)
        series.slices = kept
    _count_lost(scan, groups)
    return scan


def _walk(root: Path, scan: Scan) -> list[Path]:
    """List every file; what cannot be listed is noted, because a slice may be in it."""

    def note(error: OSError) -> None:
        scan.lost.append(Lost(Path(os.fsdecode(error.filename)), Reason.CLOSED_FOLDER))

    paths = []
    for folder, inner, names in os.walk(root, onerror=note):
        paths += [Path(folder, name) for name in names]
        scan.links += sum(Path(folder, name).is_symlink() for name in inner)
    return sorted(paths)


def _take(path: Path, reader: HeaderReader, scan: Scan, groups: dict[str, Series]) -> None:
    try:
        # Opening a pipe would wait for ever for someone to write.
        regular = stat.S_ISREG(path.stat().st_mode)
        slices = reader.read(path) if regular else []
        blank = regular and not slices and _is_blank(path)
    except DamagedHeaderError as error:
        scan.lost.append(Lost(path, Reason.DAMAGED_FILE, error.series))
    except OSError:
        scan.lost.append(Lost(path, Reason.CLOSED_FILE))
    else:
        if blank:
            scan.lost.append(Lost(path, Reason.DAMAGED_FILE))
        elif not slices:
            scan.not_dicom += 1
        elif slices[0].facts.sop_class == MediaStorageDirectoryStorage:
            scan.directories += 1
        else:
            key = slices[0].facts.series
            groups.setdefault(key, Series(key)).slices.extend(slices)


def _is_blank(path: Path) -> bool:
    """Tell whether a file that is named like a slice is empty or begins with zeros only: a copy that failed."""
    suffix = path.suffix.lower()
    if path.name.startswith(".") or not (suffix in _SUFFIXES or suffix[1:].isdigit()):
        return False
    with path.open("rb") as file:
        return not file.read(1024).strip(b"\x00")


def _count_lost(scan: Scan, groups: dict[str, Series]) -> None:
    """Give what is lost to its series: that of its header, else the only series of images in its folder."""
    folders: dict[Path, set[str]] = {}
    for series in scan.series:
        for item in series.slices:
            if item.facts.pixel and not item.facts.references:
                folders.setdefault(item.path.parent, set()).add(series.key)
    for lost in scan.lost:
        if lost.reason is Reason.CLOSED_FOLDER:
            continue
        beside = folders.get(lost.path.parent, set())
        keys = {lost.series} if lost.series else beside if len(beside) == 1 else set()
        for key in keys & groups.keys():
            groups[key].lost += 1

"""Walk an unknown folder and group what is DICOM by series; reads headers only."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import MediaStorageDirectoryStorage

from fedgin.data.dicom.header import Facts, HeaderReader, SliceHeader
from fedgin.errors import DataError

# Told (what is going on, done, total); called often.
Progress = Callable[[str, int, int], None]


@dataclass
class Series:
    """The files of one series, in the order of their paths.

    Attributes:
        key: private: the series UID or its stand-in.
        slices: at least one.
    """

    key: str
    slices: list[SliceHeader] = field(default_factory=list)

    @property
    def facts(self) -> Facts:
        """Return the facts of the first file."""
        return self.slices[0].facts

    @property
    def all_facts(self) -> list[Facts]:
        """Return every distinct set of facts, the first file's first; a sound series has one or few."""
        return list({id(item.facts): item.facts for item in self.slices}.values())


@dataclass
class Scan:
    """What is in a tree.

    Attributes:
        series: sorted by key.
        damaged: DICOM files whose header cannot be parsed.
        not_dicom: number of files that are something else.
        directories: number of DICOMDIR files; they are not needed, every file is read.
        unreadable: number of files that the system does not let us open.
    """

    series: list[Series] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    not_dicom: int = 0
    directories: int = 0
    unreadable: int = 0


def scan_tree(root: Path, progress: Progress) -> Scan:
    """Read the header of every file under ``root``; links to folders are not followed.

    Raises:
        DataError: ``root`` is no folder.
    """
    if not root.is_dir():
        raise DataError("the DICOM folder does not exist", "check the path given as DICOM_DIR")
    paths = sorted(Path(folder, name) for folder, _, names in os.walk(root) for name in names)
    scan, groups, reader = Scan(), dict[str, Series](), HeaderReader()
    for done, path in enumerate(paths, start=1):
        _take(path, reader, scan, groups)
        progress("reading headers", done, len(paths))
    scan.series = [groups[key] for key in sorted(groups)]
    return scan


def _take(path: Path, reader: HeaderReader, scan: Scan, groups: dict[str, Series]) -> None:
    try:
        header = reader.read(path)
    except DataError:
        scan.damaged.append(path)
    except OSError:
        scan.unreadable += 1
    else:
        if header is None:
            scan.not_dicom += 1
        elif header.facts.sop_class == MediaStorageDirectoryStorage:
            scan.directories += 1
        else:
            key = header.facts.series
            groups.setdefault(key, Series(key)).slices.append(header)

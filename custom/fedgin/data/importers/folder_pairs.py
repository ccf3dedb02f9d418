"""Find which image of a folder belongs to which label, by the names of files and folders alone.

A name is a list of words: ``imagesTr/liver_12_0000.nii.gz`` has *imagestr*, *liver*, *12* and *0000*. Words that say
what a file is (``seg``, ``labelsTr``, ``img``, ``ct``) are left out; image and label belong together when the others
are equal. That covers the Decathlon, nnU-Net, ACDC, BTCV, CHAOS, BIDS and a folder for each patient.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from fedgin.data.datalist import Split
from fedgin.data.tree import walk_folders
from fedgin.errors import DataError

ENDINGS = (".nii", ".nii.gz", ".png")
LABEL_WORDS = {
    *("seg", "segs", "segmentation", "segmentations", "label", "labels", "labelstr", "labelsts", "labelsva"),
    *("mask", "masks", "gt", "annotation", "annotations", "roi", "lbl", "dseg"),
}
IMAGE_WORDS = {
    *(
        "img",
        "imgs",
        "image",
        "images",
        "imagestr",
        "imagests",
        "imagesva",
        "scan",
        "scans",
        "vol",
        "volume",
        "volumes",
    ),
    *("ct", "mr", "mri", "t1", "t2", "t1w", "t2w", "anat", "data"),
}
# nnU-Net's number of the channel, on images only.
CHANNEL = "0000"
# What is numbered within one patient: with the number behind it, it is no part of the patient's name.
REPEATED = {"frame", "visit", "ses", "session", "time", "timepoint", "tp", "slice", "phase", "echo", "series", "run"}
# Folders whose cases others hold out, too; who trained on them could not be compared.
HELD_OUT = {"imagests": Split.TEST, "imagesva": Split.VALIDATION}

# What is said of them behind their number.
LEFT_OUT = "folders cannot be listed, or are links that lead nowhere or to a folder around them"


@dataclass(frozen=True)
class Pair:
    """An image with its label; ``patient`` is made of the words of their names that name the person."""

    image: Path
    label: Path
    patient: str


@dataclass(frozen=True)
class Pairs:
    """What a folder holds.

    Attributes:
        found: paths relative to the folder, in the order of their names.
        images_alone: images without a label.
        labels_alone: labels without an image.
        left_out: folders that cannot be listed, and links that lead nowhere or to a folder around them.
    """

    found: list[Pair]
    images_alone: int
    labels_alone: int
    left_out: int


def find_pairs(folder: Path) -> Pairs:
    """Return the pairs under ``folder`` and what links in it lead to; hidden files and folders are passed over.

    Raises:
        DataError: no pair, or an image or label that belongs to several.
    """
    files, left_out = _files(folder)
    labels, images = defaultdict[tuple[str, ...], list[Path]](list), defaultdict[tuple[str, ...], list[Path]](list)
    for path in (path for path in files if _is_label(path)):
        labels[_key(path)].append(path)
    for path in (path for path in files if not _is_label(path)):
        key = _key(path)
        images[key[:-1] if key not in labels and key[-1:] == (CHANNEL,) else key].append(path)
    both = sorted(images.keys() & labels.keys(), key=lambda key: images[key])
    several = [key for key in both if len(images[key]) > 1 or len(labels[key]) > 1]
    if several:
        raise DataError(
            f"{len(several)} cases have several images or labels under names that mean the same",
            "give a folder with one image and one label a case, or write datalist.json by hand",
        )
    if not both:
        closed = f"; {left_out} {LEFT_OUT}" if left_out else ""
        raise DataError(
            f"the folder holds {sum(map(len, images.values()))} images and {sum(map(len, labels.values()))} labels "
            f"(NIfTI or PNG), and none belong together by name{closed}",
            "name them like case_01.nii.gz and case_01_seg.nii.gz, or put them into folders imagesTr and labelsTr",
        )
    pairs = [Pair(images[key][0], labels[key][0], _patient(key, images[key][0])) for key in both]
    images_alone, labels_alone = (sum(map(len, files.values())) - len(both) for files in (images, labels))
    return Pairs(pairs, images_alone, labels_alone, left_out)


def held_out(pairs: list[Pair]) -> dict[str, Split]:
    """Return the patients in folders ``imagesTs`` and ``imagesVa``; who is in both is a test patient."""
    found: dict[str, Split] = {}
    for pair in pairs:
        for word in (part.lower() for part in pair.image.parts[:-1]):
            if word in HELD_OUT and found.get(pair.patient) is not Split.TEST:
                found[pair.patient] = HELD_OUT[word]
    return found


def patient_of(image: Path) -> str:
    """Return the words of a file's name that name the person: ``patient001_frame12.nii.gz`` is of *patient-001*."""
    return _patient(_key(image), image) or image.name


def _files(folder: Path) -> tuple[list[Path], int]:
    """Return the images and labels, and the number of folders and links in which there may be others."""
    left_out: list[Path] = []
    files: list[Path] = []
    for item in walk_folders(folder, passes_over=lambda path: path.name.startswith("."), on_left_out=left_out.append):
        for path in (item.path / name for name in item.names if not name.startswith(".")):
            if path.name.lower().endswith(ENDINGS):
                files.append(path.relative_to(folder))
            elif path.is_symlink() and not path.exists():  # perhaps to a folder on a disk that is not there
                left_out.append(path)
    return sorted(files), len(left_out)


def _words(path: Path) -> list[str]:
    text = path.as_posix().lower()
    for ending in ENDINGS[::-1]:
        text = text.removesuffix(ending)
    words = re.findall(r"[^\W_]+", text)
    return [part for word in words for part in ([word] if word in IMAGE_WORDS else re.findall(r"\d+|[^\d]+", word))]


def _is_label(path: Path) -> bool:
    return not LABEL_WORDS.isdisjoint(_words(path))


def _key(path: Path) -> tuple[str, ...]:
    return tuple(word for word in _words(path) if word not in LABEL_WORDS | IMAGE_WORDS)


def _patient(key: tuple[str, ...], image: Path) -> str:
    """Leave out what is numbered within a patient; of a PNG slice the last number, which counts the slices."""
    words: list[str] = []
    skip = False
    for word in key:
        if not skip:
            words.append(word)
        skip = word in REPEATED
        if skip:
            words.pop()
    if image.suffix.lower() == ".png" and len(words) > 1 and words[-1].isdigit():
        words.pop()
    return "-".join(words)

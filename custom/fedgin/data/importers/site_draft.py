"""Draft ``site.yaml`` and ``datalist.json`` for a folder of images and labels; nothing is copied or overwritten."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from fedgin.config import parse_settings
from fedgin.data.datalist import Case, Split
from fedgin.data.dicom.rules import SplitRules
from fedgin.data.dicom.splits import split_patients
from fedgin.data.importers.dataset_json import DATASET, named_ids
from fedgin.data.importers.folder_pairs import Pair, Pairs, find_pairs, held_out
from fedgin.data.label_values import UnknownIdsError, as_label_ids
from fedgin.data.organ_names import organ_of
from fedgin.data.site import LARGEST_ID, Modality, PngSlices, SiteContract
from fedgin.data.volumes import is_hu_like, load_volume
from fedgin.documents import read_json
from fedgin.errors import ConfigError, DataError
from fedgin.files import write_text

SITE, DATALIST = "site.yaml", "datalist.json"
DRAFT = f"the draft of {SITE}"


@dataclass(frozen=True)
class Wishes:
    """What a folder does not say about itself.

    Attributes:
        site: the name under which FLARE knows the site.
        split: how patients are divided.
        modality: ``None`` to tell by the intensities of the first image.
        pixel_mm: pixel size of PNG slices.
    """

    site: str
    split: SplitRules
    modality: Modality | None = None
    pixel_mm: float | None = None


@dataclass(frozen=True)
class Draft:
    """What was found and written.

    Attributes:
        contract: as in ``site.yaml``.
        pairs: images and labels.
        cases: the cases of each split.
        patients: the patients of each split.
        unnamed: ids of the label files whose organ nothing names.
        unreadable: labels that could not be read.
    """

    contract: SiteContract
    pairs: Pairs
    cases: Counter[Split]
    patients: Counter[Split]
    unnamed: list[int]
    unreadable: int


def draft_site(
    folder: Path, out: Path, wishes: Wishes, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> Draft:
    """Pair images and labels, keep or draw splits by patient, read the ids of all labels, and write both files.

    Args:
        folder: images and labels, which stay as they are.
        out: where the files are written.
        wishes: what the folder does not say.
        progress: called with the number of labels read and of all.

    Raises:
        ConfigError: a file is there already, PNG slices have no pixel size, or one or the name is not possible.
        DataError: no pairs, or fewer than two patients.
    """
    existing = [name for name in (SITE, DATALIST) if os.path.lexists(out / name)]
    if existing:
        raise ConfigError(f"{' and '.join(existing)} are there already", "keep them, or give another folder with --out")
    pairs = find_pairs(folder)
    splits = _split(pairs, wishes.split)
    if len(splits) < 2:
        raise DataError(
            "all cases are of one patient by their names", "two patients are needed: training and validation"
        )
    png = _png(pairs.found, wishes)
    # A wrong name is told before all labels are read; which organs they show does not matter for that.
    _contract(folder, out, wishes, Modality.CT, {"organ": 1}, png)
    cases = [_case(folder, pair, wishes, png) for pair in pairs.found]
    modality = wishes.modality or _modality(cases[0])
    ids, unreadable = _ids(cases, progress)
    labels, unnamed = _labels(ids, _names(folder))
    contract = _contract(folder, out, wishes, modality, labels, png)
    lists = {split.value: [_entry(pair) for pair in pairs.found if splits[pair.patient] is split] for split in Split}
    datalist = json.dumps({"name": wishes.site, **lists}, indent=1) + "\n"
    _write({out / DATALIST: datalist, out / SITE: _text(contract, folder, out, unnamed)})
    counts = Counter(splits[pair.patient] for pair in pairs.found)
    return Draft(contract, pairs, counts, Counter(splits.values()), unnamed, unreadable)


def _contract(
    folder: Path, out: Path, wishes: Wishes, modality: Modality, labels: Mapping[str, int], png: PngSlices | None
) -> SiteContract:
    values = {"site": wishes.site, "modality": modality, "labels": labels, "png": png}
    places = {"data_root": folder.resolve(), "datalist": out / DATALIST}
    return parse_settings(values | places, SiteContract, source=DRAFT)


def _split(pairs: Pairs, rules: SplitRules) -> dict[str, Split]:
    """Keep the splits that folders such as ``imagesTs`` say; draw those of which there is none."""
    held = held_out(pairs.found)
    given = {split.value: 0 for split in held.values()}
    return split_patients({pair.patient for pair in pairs.found}, rules.model_copy(update=given), held)


def _write(texts: Mapping[Path, str]) -> None:
    """Write all files or none; none of them was there before."""
    written: list[Path] = []
    try:
        for path, text in texts.items():
            write_text(path, text)
            written.append(path)
    except OSError:
        for path in written:
            path.unlink()
        raise ConfigError("the folder for site.yaml cannot be written", "give a writable one with --out") from None


def _entry(pair: Pair) -> dict[str, str]:
    return {"image": pair.image.as_posix(), "label": pair.label.as_posix(), "patient": pair.patient}


def _case(folder: Path, pair: Pair, wishes: Wishes, png: PngSlices | None) -> Case:
    """Return a case that names no organ yet; its split, number and modality do not matter here."""
    modality = wishes.modality or Modality.MR
    return Case(wishes.site, modality, Split.TRAINING, 1, 1, folder / pair.image, folder / pair.label, {}, png)


def _png(pairs: list[Pair], wishes: Wishes) -> PngSlices | None:
    if not any(pair.image.suffix.lower() == ".png" for pair in pairs):
        return None
    if wishes.pixel_mm is None or wishes.modality is None:
        raise ConfigError(
            "PNG slices tell neither their pixel size nor their modality", "give --pixel-mm and --modality"
        )
    return parse_settings({"pixel_mm": wishes.pixel_mm}, PngSlices, source=DRAFT)


def _modality(case: Case) -> Modality:
    return Modality.CT if is_hu_like(load_volume(case, "image").voxels) else Modality.MR


def _ids(cases: list[Case], progress: Callable[[int, int], None]) -> tuple[list[int], int]:
    """Return the ids of all labels, and how many labels could not be read: validation says why."""
    ids, unreadable = set[int](), 0
    for done, case in enumerate(cases, start=1):
        try:
            as_label_ids(case, load_volume(case, "label").voxels)
        except UnknownIdsError as error:  # no organ is named yet, so that every id is unknown
            ids |= set(error.ids)
        except DataError:
            unreadable += 1
        progress(done, len(cases))
    return sorted(one for one in ids if 1 <= one <= LARGEST_ID), unreadable


def _names(folder: Path) -> dict[int, str]:
    """Return the names of ids that a ``dataset.json`` of the Decathlon or of nnU-Net gives."""
    try:
        given = named_ids(read_json(folder / DATASET, source=DATASET)["labels"])
        return {number: name for number, text in given.items() if (name := _organ(text))}
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _organ(text: str) -> str:
    name = organ_of(text)
    return name if re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) else ""


def _labels(ids: list[int], names: Mapping[int, str]) -> tuple[dict[str, int], list[int]]:
    if not ids:
        raise DataError("no label shows an id from 1 to 255", "give a folder whose labels number their organs")
    unnamed = [one for one in ids if one not in names]
    return {names.get(one, f"organ_{one}"): one for one in ids}, unnamed


def _text(contract: SiteContract, folder: Path, out: Path, unnamed: list[int]) -> str:
    same = folder.resolve() == out.resolve()
    values: dict[str, object] = {
        "site": contract.site,
        "modality": contract.modality.value,
        "data_root": "." if same else str(folder.resolve()),
        "datalist": DATALIST if same else str((out / DATALIST).resolve()),
        "labels": dict(contract.labels),
        **({"png": contract.png.model_dump()} if contract.png else {}),
        "device": contract.device,
    }
    if not same or not os.access(folder, os.W_OK):
        values["cache_dir"] = str((out / contract.cache_dir).resolve())
    note = "# Drafted by fedgin site init; it is yours now. Then: fedgin site validate site.yaml\n"
    if unnamed:
        note += "# Name the organs: write liver instead of organ_1 where id 1 is the liver, or 'ignore: [1]'.\n"
    return note + yaml.safe_dump(values, sort_keys=False)

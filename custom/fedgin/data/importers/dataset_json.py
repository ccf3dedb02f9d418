"""What the ``dataset.json`` of the Decathlon and of nnU-Net says about channels and organs."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from fedgin.data.importers.archive import is_there
from fedgin.data.organ_names import organ_of
from fedgin.data.site import LARGEST_ID, Modality
from fedgin.errors import DataError

DATASET = "dataset.json"
CT_WORDS = {"ct", "cta", "cbct"}
MR_WORDS = {"mr", "mri", "t1", "t2", "t1w", "t2w", "flair", "t1c", "t1ce", "t1gd", "bssfp", "spir"}
# nnU-Net's name for voxels of which nobody knows what they are.
IGNORED = "ignore"


def require_dataset(source: Path) -> None:
    """Raise :class:`DataError` where there is no ``dataset.json``."""
    if not is_there(source / DATASET):
        raise DataError(
            f"SOURCE has no {DATASET}",
            f"give the folder that holds {DATASET} and imagesTr; folders without one: fedgin site init",
        )


def name_of(source: Path) -> str:
    """Return the name of the dataset's folder as sites may be called: there are many datasets of one layout."""
    return re.sub(r"[^a-z0-9]+", "-", source.resolve().name.lower()).strip("-")[:40].strip("-") or "dataset"


def origin_of(source: Path, ids: Mapping[str, int]) -> str:
    """Return a hash of where the dataset is and what its ids mean: another folder of that name is another dataset."""
    return hashlib.sha256(json.dumps([str(source.resolve()), ids], sort_keys=True).encode()).hexdigest()


def named_ids(labels: Mapping[str, object]) -> dict[int, str]:
    """Return the text of each id, in whichever order the file has them; background is left out.

    Raises:
        TypeError, ValueError: an id is no whole number, such as a list of nnU-Net's regions.
    """
    pairs = [(key, value) if str(key).isdigit() else (value, key) for key, value in labels.items()]
    return {int(str(number)): str(text) for number, text in pairs if int(str(number))}


def organ_ids(labels: Mapping[str, object]) -> dict[str, int]:
    """Return the id of each organ under the name that this package has for it.

    Raises:
        DataError: regions, an ignored label, two ids of one organ, or an id above 255.
    """
    try:
        texts = named_ids(labels)
    except (TypeError, ValueError):
        raise DataError(
            f"{DATASET} has labels that are no single ids, such as regions", "give a dataset with one id an organ"
        ) from None
    if IGNORED in texts.values():
        raise DataError(f"{DATASET} has an '{IGNORED}' label", "give a dataset in which every voxel is labelled")
    organs = {organ_of(text): number for number, text in texts.items()}
    if len(organs) < len(texts):
        raise DataError(f"{DATASET} names one organ twice", "give every id an organ of its own")
    wrong = [
        name
        for name, number in organs.items()
        if not (1 <= number <= LARGEST_ID and re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name))
    ]
    if wrong or not organs:
        raise DataError(
            f"{DATASET} has labels that cannot be used: {', '.join(wrong) or 'none at all'}",
            f"a name begins with a letter, an id is 1 to {LARGEST_ID}",
        )
    return organs


def only_modality(channels: Mapping[str, str]) -> Modality:
    """Return the modality of the only channel.

    Raises:
        DataError: several channels, or one that is neither CT nor MR by its name.
    """
    if len(channels) != 1:
        raise DataError(f"{DATASET} has {len(channels)} channels", "give a dataset of one channel")
    name = next(iter(channels.values()))
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    if words & CT_WORDS:
        return Modality.CT
    if words & MR_WORDS:
        return Modality.MR
    raise DataError(f"{DATASET} names the channel '{name}', neither CT nor MRI", f"write CT or MRI into {DATASET}")

"""Divide patients, never cases or slices, into training, validation and test."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from fedgin.data.datalist import Split
from fedgin.data.dicom.rules import SplitRules
from fedgin.errors import ConfigError
from fedgin.files import write_text

SPLITS = "splits.json"


def split_patients(patients: Collection[str], rules: SplitRules, settled: Mapping[str, Split]) -> dict[str, Split]:
    """Give every patient one split; who has one in ``settled`` keeps it, so that no test patient is ever trained on.

    Args:
        patients: pseudonyms.
        rules: shares or numbers, and the seed of the drawing.
        settled: splits of an earlier run.
    """
    splits = {patient: settled[patient] for patient in patients if patient in settled}
    free = sorted(set(patients) - set(splits), key=lambda patient: _draw(rules.seed, patient))
    taken = Counter(splits.values())
    for split, wanted in _wanted(len(set(patients)), rules).items():
        chosen, free = free[: max(wanted - taken[split], 0)], free[max(wanted - taken[split], 0) :]
        splits.update(dict.fromkeys(chosen, split))
    return splits | dict.fromkeys(free, Split.TRAINING)


def read_settled(out: Path) -> dict[str, Split]:
    """Read who is in which split since earlier runs; empty before the first.

    Raises:
        ConfigError: ``splits.json`` is damaged.
    """
    path = out / SPLITS
    if not path.exists():
        return {}
    try:
        return read_splits(path)
    except ConfigError:
        raise ConfigError(f"{SPLITS} in OUT is damaged", "restore it, or delete it to draw all splits anew") from None


def read_splits(path: Path) -> dict[str, Split]:
    """Read who is in which split.

    Raises:
        ConfigError: the file is not there, or no JSON object of patient to split.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {str(patient): Split(split) for patient, split in values.items()}
    except (OSError, ValueError, AttributeError):
        raise ConfigError(
            f"{path.name} does not say who is in which split",
            f'write JSON such as {{"PATIENT": "training"}}; splits are {", ".join(Split)}',
        ) from None


def write_settled(out: Path, splits: Mapping[str, Split]) -> None:
    """Write ``splits.json``: also patients who are left out this time keep their place for the next."""
    values = {patient: splits[patient].value for patient in sorted(splits)}
    write_text(out / SPLITS, json.dumps(values, indent=1) + "\n")


def _wanted(count: int, rules: SplitRules) -> dict[Split, int]:
    """Validation is served first, then test; training keeps at least one patient."""
    validation = min(_number(rules.validation, count), max(count - 1, 0))
    test = min(_number(rules.test, count), max(count - 1 - validation, 0))
    return {Split.VALIDATION: validation, Split.TEST: test}


def _number(share: float, count: int) -> int:
    if isinstance(share, int):
        return share
    return max(round(share * count), 1) if share > 0.0 else 0


def _draw(seed: int, patient: str) -> str:
    return hashlib.sha256(f"{seed}|{patient}".encode()).hexdigest()

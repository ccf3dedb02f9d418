from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgin.data.datalist import Split
from fedgin.data.dicom.rules import SplitRules
from fedgin.data.dicom.splits import read_settled, split_patients, write_settled
from fedgin.errors import ConfigError

PATIENTS = [f"p{number:04d}" for number in range(20)]


def counts(splits: dict[str, Split]) -> list[int]:
    return [Counter(splits.values())[split] for split in Split]


@pytest.mark.parametrize(
    ("patients", "validation", "test", "expected"),
    [
        (20, 0.2, 0.2, [12, 4, 4]),
        (20, 3, 5, [12, 3, 5]),
        (20, 0.25, 0, [15, 5, 0]),
        (5, 0.2, 0.2, [3, 1, 1]),
        (3, 0.2, 0.2, [1, 1, 1]),
        (2, 0.2, 0.2, [1, 1, 0]),
        (1, 0.2, 0.2, [1, 0, 0]),
        (0, 0.2, 0.2, [0, 0, 0]),
        (4, 9, 9, [1, 3, 0]),
    ],
)
def test_shares_and_numbers(patients: int, validation: float, test: float, expected: list[int]) -> None:
    rules = SplitRules(validation=validation, test=test)
    assert counts(split_patients(PATIENTS[:patients], rules, {})) == expected


def test_the_seed_decides() -> None:
    first, again, other = (split_patients(PATIENTS, SplitRules(seed=seed), {}) for seed in (1, 1, 2))
    assert first == again != other


@settings(max_examples=50, derandomize=True)
@given(before=st.integers(0, 20), seed=st.integers(0, 5))
def test_nobody_changes_place_when_patients_are_added(before: int, seed: int) -> None:
    rules = SplitRules(seed=seed)
    old = split_patients(PATIENTS[:before], rules, {})
    new = split_patients(PATIENTS, rules, old)
    assert {patient: new[patient] for patient in old} == old
    assert set(new) == set(PATIENTS)


def test_patients_who_left_do_not_count() -> None:
    settled = {"gone": Split.TEST, PATIENTS[0]: Split.TEST}
    splits = split_patients(PATIENTS[:5], SplitRules(), settled)
    assert (splits[PATIENTS[0]], counts(splits)) == (Split.TEST, [3, 1, 1])


def test_splits_are_remembered(tmp_path: Path) -> None:
    assert read_settled(tmp_path) == {}
    splits = split_patients(PATIENTS, SplitRules(), {})
    write_settled(tmp_path, splits)
    assert read_settled(tmp_path) == splits


@pytest.mark.parametrize("text", ["{", "[]", '{"p1": "train"}'])
def test_damaged_splits_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(ConfigError, match="draw all splits anew"):
        read_settled(tmp_path)

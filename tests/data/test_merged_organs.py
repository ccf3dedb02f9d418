"""An organ with several ids is what it would be if the label file had one id for it."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedgin.data.datalist import Split
from fedgin.data.label_values import as_label_ids
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.data.validation import validate_site
from fedgin.data.validation.facts import measure_label
from fedgin.data.validation.fingerprint import build_fingerprint
from fedgin.data.volumes import Volume, map_organs
from tests.data.validation.small_site import AFFINE, SHAPE, SmallSite
from tests.sites import make_case, make_volume, tiny_experiment

NAMES = ["liver", "kidneys", "lungs"]
MERGED = {"liver": 1, "spleen": 2, "kidneys": [3, 4]}


@given(ids=st.permutations(range(1, 256)), sizes=st.tuples(*[st.integers(1, 4)] * 3), seed=st.integers(0, 2**32 - 1))
def test_voxels_of_all_ids_are_the_organ(ids: list[int], sizes: tuple[int, int, int], seed: int) -> None:
    ends = np.cumsum(sizes)
    groups = {name: tuple(ids[end - size : end]) for name, size, end in zip(NAMES, sizes, ends, strict=True)}
    label = np.random.default_rng(seed).choice([0, *ids[: ends[-1]]], SHAPE).astype(np.uint8)
    plain = np.zeros_like(label)
    for position, name in enumerate(NAMES, start=1):
        plain[np.isin(label, groups[name])] = position
    with tempfile.TemporaryDirectory() as scratch:
        case = make_case(Path(scratch), *make_volume("CT", 0))
    several = dataclasses.replace(case, label_ids=groups)
    one = dataclasses.replace(case, label_ids={name: position for position, name in enumerate(NAMES, start=1)})
    wanted = ["lungs", "liver"]
    assert np.array_equal(as_label_ids(several, label), label)
    assert np.array_equal(
        map_organs(several, Volume(label, AFFINE), wanted), map_organs(one, Volume(plain, AFFINE), wanted)
    )
    assert measure_label(several, Volume(label, AFFINE)) == measure_label(one, Volume(plain, AFFINE))


def site(folder: Path, *, merged_file: bool) -> Path:
    """Write a site that calls both kidneys one organ: by two ids, or by one id in its files."""
    small = SmallSite(folder)
    if merged_file:
        for split, number in [("training", 1), ("training", 2), ("training", 3), ("validation", 1), ("validation", 2)]:
            small.change("label", lambda label: np.where(label == 4, 3, label).astype(np.uint8), split, number)
    path = small.save()
    labels = MERGED | {"kidneys": 3} if merged_file else MERGED
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"labels": labels}))
    return path


def test_training_and_validation_see_one_organ(tmp_path: Path) -> None:
    several, one = (site(tmp_path / str(merged), merged_file=merged) for merged in (False, True))
    settings = tiny_experiment()
    prepared = [prepare_site(load_site(path), settings.preprocessing, ["kidneys"]) for path in (several, one)]
    for first, second in zip(*(data.cases[Split.TRAINING] for data in prepared), strict=True):
        assert first.labelled == ("kidneys",)
        assert first.read("label").any()
        assert np.array_equal(first.read("label"), second.read("label"))
    found, expected = (validate_site(load_site(path)) for path in (several, one))
    assert found.findings == expected.findings
    assert [facts.thumbnail for facts in found.facts] == [facts.thumbnail for facts in expected.facts]
    organs = [build_fingerprint(validation, bytes(32))["organs"] for validation in (found, expected)]
    assert organs[0] == organs[1]
    assert set(organs[0]) == set(MERGED)


def test_an_id_that_no_case_shows_is_not_missed_while_the_organ_is_there(tmp_path: Path) -> None:
    path = site(tmp_path, merged_file=True)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"labels": MERGED | {"lungs": [9, 10]}}))
    messages = [item.message for item in validate_site(load_site(path)).findings if item.code == "organ_never_seen"]
    assert messages == ["site hospital-a: no case shows lungs (id 9, 10)"]

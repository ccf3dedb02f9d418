"""Which values of a label file are ids, which are refused, which are ignored."""

import dataclasses
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedgin.data.datalist import Case, Split
from fedgin.data.label_values import UnknownIdsError, as_label_ids, shown
from fedgin.data.site import Modality
from fedgin.data.volumes import read_label
from fedgin.errors import DataError
from tests.real_data import real_data
from tests.sites import AFFINE, make_case, make_volume

CASE = Case("a", Modality.CT, Split.TRAINING, 1, 1, Path("i"), Path("l"), {"liver": 1, "kidneys": (2, 3)})
IDS = np.array([[[0, 1, 2, 3]]], dtype=np.uint8)


@given(st.lists(st.floats(-9.9e-4, 9.9e-4), min_size=4, max_size=4), st.sampled_from([np.float32, np.float64]))
def test_rounding_noise_is_no_other_id(noise: list[float], kind: type) -> None:
    np.testing.assert_array_equal(as_label_ids(CASE, (IDS + np.array(noise)).astype(kind)), IDS)


@pytest.mark.parametrize("value", [1.002, 0.5, -0.5, np.nan, np.inf])
def test_what_is_no_whole_number_is_refused(value: float) -> None:
    with pytest.raises(DataError, match=f"1 voxels of the label are no whole numbers .*such as {value:.4g}"):
        as_label_ids(CASE, np.array([[[0.0, 1.0, value]]]))


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
@pytest.mark.parametrize("slope", [1 / 255, 0.1, 1 / 3])
def test_a_label_with_a_scale_factor_is_read(tmp_path: Path, kind: type, slope: float) -> None:
    image, label = make_volume("CT", 0)
    case = make_case(tmp_path, image, label)
    stored = nibabel.Nifti1Image(np.rint(label / slope % 256).astype(kind), AFFINE)
    if slope == 1 / 255:  # ids 1 and 2 need 255 and 510
        label = (label == 1).astype(np.uint8)
        stored = nibabel.Nifti1Image((label * 255).astype(kind), AFFINE)
    stored.header.set_slope_inter(slope, 0)
    nibabel.save(stored, case.label)
    np.testing.assert_array_equal(read_label(case).voxels, label)


def test_all_unknown_ids_are_named_in_one_line() -> None:
    with pytest.raises(UnknownIdsError) as caught:
        as_label_ids(CASE, np.array([[[0, 1, 4, 5, 7, 8, 9, 300, 12, 14, -1]]], dtype=np.int16))
    assert "label map: -1, 4, 5, 7-9, 12, 14, 300" in caught.value.problem
    assert "'ignore'" in caught.value.fix


@given(st.sets(st.integers(1, 500)))
def test_shown_ids_can_be_read_back(ids: set[int]) -> None:
    text = shown(sorted(ids))
    read: list[int] = []
    for part in filter(None, text.split(", ")):
        first, _, last = part.partition("-")
        read += range(int(first), int(last or first) + 1)
    assert read == sorted(ids)


@pytest.mark.parametrize(("ignore", "left"), [((4, 300), (7,)), ("others", ()), ((7,), (4, 300)), ((), (4, 7, 300))])
@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_ignored_ids_become_background_and_others_stay_unknown(ignore: Any, left: tuple[int, ...], kind: type) -> None:
    case = dataclasses.replace(CASE, ignore=ignore)
    voxels: NDArray[Any] = np.array([[[0, 1, 4, 7, 3, 300]]], dtype=kind)
    if not left:
        np.testing.assert_array_equal(as_label_ids(case, voxels), [[[0, 1, 0, 0, 3, 0]]])
        return
    with pytest.raises(UnknownIdsError) as caught:
        as_label_ids(case, voxels)
    assert tuple(caught.value.ids) == left


def test_ignoring_others_does_not_accept_fractions() -> None:
    with pytest.raises(DataError, match="no whole numbers"):
        as_label_ids(dataclasses.replace(CASE, ignore="others"), IDS / 2)


def test_the_readmes_label_map_reads_a_real_ct_once_the_other_organs_are_ignored() -> None:
    labels = {"liver": 6, "spleen": 1, "right_kidney": 2, "left_kidney": 3}
    case = dataclasses.replace(CASE, label=real_data("abdomen_ct") / "seg_12.nii.gz", label_ids=labels)
    with pytest.raises(UnknownIdsError, match=r"label map: 5, 7-13\."):  # the gallbladder, 4, was removed
        read_label(case)
    read = read_label(dataclasses.replace(case, ignore=(4, 5, *range(7, 14)))).voxels
    assert set(np.unique(read)) == {0, 1, 2, 3, 6}
    np.testing.assert_array_equal(read_label(dataclasses.replace(case, ignore="others")).voxels, read)

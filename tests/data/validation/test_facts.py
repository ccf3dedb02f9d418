"""What is measured of a label, against counting it voxel by voxel."""

from collections import Counter

import nibabel
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from fedgin.data.validation.facts import count_by_slice, to_ras
from fedgin.data.volumes import Volume

LABELS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(0, 255))


@given(LABELS, st.permutations([0, 1, 2]))
def test_each_slices_ids_are_counted_whatever_the_order_of_axes(ids: NDArray[np.uint8], order: list[int]) -> None:
    turned = ids.transpose(order)
    counts = count_by_slice(turned)
    assert counts.shape == (len(turned), 256)
    for plane, found in zip(turned, counts, strict=True):
        assert {int(one): int(found[one]) for one in np.flatnonzero(found)} == Counter(plane.ravel().tolist())


def test_a_label_without_slices_has_no_counts() -> None:
    assert count_by_slice(np.zeros((0, 4, 4), np.uint8)).shape == (0, 256)


@given(st.permutations([0, 1, 2]), st.lists(st.sampled_from([-2.0, 2.0]), min_size=3, max_size=3))
def test_axes_become_right_front_and_head(order: list[int], steps: list[float]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.diag(steps)[:, order]
    ras = to_ras(Volume(np.arange(24.0, dtype=np.float32).reshape(2, 3, 4), affine))
    assert "".join(nibabel.aff2axcodes(ras.affine)) == "RAS"
    expected = nibabel.as_closest_canonical(nibabel.Nifti1Image(np.arange(24.0).reshape(2, 3, 4), affine))
    assert np.array_equal(ras.voxels, expected.get_fdata())
    assert np.allclose(ras.affine, expected.affine)

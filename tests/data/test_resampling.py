"""Our separable resampling gives what MONAI's general one gives, on every pair of grids with parallel axes."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from scipy.spatial.transform import Rotation

from fedgin.data.resampling import Mode, Outside, VoxelGrid, resample

TURNS = [
    np.eye(3)[list(order)] * np.array(signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((-1, 1), repeat=3)
]


def grid(shape: tuple[int, int, int], rotation: np.ndarray, spacing: np.ndarray, origin: np.ndarray) -> VoxelGrid:
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = origin
    return VoxelGrid(shape, affine)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    turn=st.sampled_from(TURNS),
    kind=st.sampled_from([("bilinear", "zeros"), ("bilinear", "border"), ("nearest", "zeros")]),
)
def test_it_gives_what_monai_gives(seed: int, turn: np.ndarray, kind: tuple[Mode, Outside]) -> None:
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(random_state=seed).as_matrix()
    (a, b, c), (d, e, f) = (map(int, rng.integers(2, 12, 3)) for _ in range(2))
    shapes = (a, b, c), (d, e, f)
    source = grid(shapes[0], rotation, rng.uniform(0.5, 3.0, 3), rng.normal(0.0, 5.0, 3))
    target = grid(shapes[1], rotation @ turn, rng.uniform(0.5, 3.0, 3), rng.normal(0.0, 5.0, 3))
    values = torch.from_numpy(rng.normal(0.0, 1.0, (2, *shapes[0])))
    general = SpatialResample(mode=kind[0], padding_mode=kind[1], align_corners=True, dtype=torch.float64)
    expected = general(
        MetaTensor(values, affine=source.affine), dst_affine=torch.from_numpy(target.affine), spatial_size=shapes[1]
    )
    found = resample(values, source, target, mode=kind[0], outside=kind[1])
    torch.testing.assert_close(found, torch.as_tensor(expected.as_tensor(), dtype=found.dtype), atol=1e-5, rtol=1e-5)


def test_slices_that_stay_are_copied_exactly() -> None:
    source = grid((4, 5, 6), np.eye(3), np.array([1.0, 2.0, 3.0]), np.zeros(3))
    target = grid((2, 5, 3), np.eye(3), np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 6.0]))
    labels = torch.arange(120, dtype=torch.uint8).reshape(1, 4, 5, 6)
    assert torch.equal(resample(labels, source, target, mode="nearest"), labels[:, 1:3, :, 2:5])
    assert torch.equal(resample(labels.float(), source, target, mode="bilinear"), labels[:, 1:3, :, 2:5].float())


def test_grids_that_are_turned_against_each_other_are_refused() -> None:
    source = grid((4, 5, 6), np.eye(3), np.ones(3), np.zeros(3))
    turned = grid((4, 5, 6), Rotation.from_euler("z", 1.0, degrees=True).as_matrix(), np.ones(3), np.zeros(3))
    with pytest.raises(ValueError, match="not parallel"):
        resample(torch.zeros(1, 4, 5, 6), source, turned, mode="nearest")

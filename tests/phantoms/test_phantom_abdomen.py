import functools

import numpy as np
import pytest
from numpy.typing import NDArray

from fedgin.phantoms.abdomen import draw_abdomen, label_abdomen
from fedgin.phantoms.anatomy import rasterise
from fedgin.phantoms.grid import trunk_grid
from fedgin.phantoms.tissues import CT_PORTAL_VENOUS, ORGAN_VOLUME_ML, ORGANS, Tissue

GRID = trunk_grid(3.0, 5.0)
IDS = {organ: number for number, organ in enumerate(ORGANS, start=1)}


def draw(seed: int) -> NDArray[np.uint8]:
    return rasterise(draw_abdomen(np.random.default_rng(seed)), GRID)


@functools.cache
def body(seed: int) -> NDArray[np.uint8]:
    """Return the body that all tests of a seed look at, drawn once."""
    volume = draw(seed)
    volume.flags.writeable = False
    return volume


def centre(labels: NDArray[np.uint8], organ: str) -> NDArray[np.float64]:
    places = np.argwhere(labels == IDS[organ]).mean(axis=0)
    return np.asarray(places * np.array(GRID.spacing) + np.array(GRID.origin))


@pytest.mark.parametrize("seed", range(12))
def test_every_organ_has_a_published_volume_and_its_place(seed: int) -> None:
    labels = label_abdomen(body(seed), GRID, IDS)
    for organ, (low, high) in ORGAN_VOLUME_ML.items():
        assert low <= np.count_nonzero(labels == IDS[organ]) * GRID.voxel_ml() <= high, organ
    where = {organ: centre(labels, organ) for organ in ORGANS}
    assert where["liver"][0] > 40
    assert where["spleen"][0] < -60
    assert where["spleen"][1] < where["pancreas"][1]
    assert where["right_kidney"][0] > 40
    assert where["left_kidney"][0] < -40
    assert where["gallbladder"][2] < where["liver"][2]
    pancreas = np.argwhere(labels == IDS["pancreas"])[:, 0] * GRID.spacing[0] + GRID.origin[0]
    assert pancreas.min() < -30
    assert pancreas.max() > 20


def test_bodies_differ_and_a_seed_repeats_one() -> None:
    first, again, other = body(1), draw(1), body(2)
    np.testing.assert_array_equal(first, again)
    assert np.mean(first != other) > 0.1


def test_every_tissue_occurs_and_air_surrounds_the_body() -> None:
    volume = body(3)
    assert set(np.unique(volume)) == {int(tissue) for tissue in CT_PORTAL_VENOUS}
    for edge in (volume[0], volume[-1], volume[:, 0], volume[:, -1]):
        assert np.count_nonzero(edge) == 0


def test_kidney_sides_follow_the_midline() -> None:
    volume = np.full(GRID.shape, Tissue.RENAL_CORTEX, dtype=np.uint8)
    labels = label_abdomen(volume, GRID, {"right_kidney": 2, "left_kidney": 3})
    right = GRID.axes()[0] > 0
    assert np.all(labels[right] == 2)
    assert np.all(labels[~right] == 3)


def test_organs_without_an_id_are_background() -> None:
    labels = label_abdomen(body(4), GRID, {"liver": 9})
    assert set(np.unique(labels)) == {0, 9}


def test_the_same_body_on_another_grid_has_the_same_volumes() -> None:
    anatomy, fine = draw_abdomen(np.random.default_rng(5)), trunk_grid(2.0, 4.0)
    coarse_labels = label_abdomen(body(5), GRID, IDS)
    fine_labels = label_abdomen(rasterise(anatomy, fine), fine, IDS)
    for organ in ("liver", "spleen", "right_kidney"):
        coarse_ml = np.count_nonzero(coarse_labels == IDS[organ]) * GRID.voxel_ml()
        fine_ml = np.count_nonzero(fine_labels == IDS[organ]) * fine.voxel_ml()
        assert coarse_ml == pytest.approx(fine_ml, rel=0.04), organ

import functools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fedgin.phantoms.anatomy import rasterise
from fedgin.phantoms.cardiac_tissues import CHAMBER_VOLUME_ML
from fedgin.phantoms.grid import trunk_grid
from fedgin.phantoms.heart import Heart, draw_heart, heart_layers
from fedgin.phantoms.layers import paint
from fedgin.phantoms.shapes import Column
from fedgin.phantoms.thorax import BLOOD, draw_thorax, label_heart
from fedgin.phantoms.tissues import Tissue
from fedgin.phantoms.trunk import draw_habitus, wall_layers

GRID = trunk_grid(3.0, 4.0)
SEEDS = range(12)
CONTACTS = [
    (Tissue.LEFT_ATRIUM, Tissue.LEFT_VENTRICLE),
    (Tissue.RIGHT_ATRIUM, Tissue.RIGHT_VENTRICLE),
    (Tissue.LEFT_VENTRICLE, Tissue.AORTA),
    (Tissue.RIGHT_VENTRICLE, Tissue.PULMONARY_ARTERY),
    (Tissue.SUPERIOR_VENA_CAVA, Tissue.RIGHT_ATRIUM),
    (Tissue.INFERIOR_VENA_CAVA, Tissue.RIGHT_ATRIUM),
    (Tissue.PULMONARY_VEIN, Tissue.LEFT_ATRIUM),
    (Tissue.MYOCARDIUM, Tissue.RIGHT_VENTRICLE),
]


@functools.cache
def body(seed: int) -> NDArray[np.uint8]:
    """Return the body that all tests of a seed look at, drawn once."""
    volume = rasterise(draw_thorax(np.random.default_rng(seed)), GRID)
    volume.flags.writeable = False
    return volume


def centre(volume: NDArray[np.uint8], tissue: Tissue) -> NDArray[np.float64]:
    places = np.argwhere(volume == tissue).mean(axis=0)
    return np.asarray(places * np.array(GRID.spacing) + np.array(GRID.origin))


def touched(volume: NDArray[np.uint8], tissue: Tissue) -> dict[Tissue, float]:
    """Return which tissues lie around one, as shares of its surface."""
    inside = volume == tissue
    shell = volume[ndimage.binary_dilation(inside) & ~inside]
    return {Tissue(code): float(np.mean(shell == code)) for code in np.unique(shell)}


def beating(systole: float) -> NDArray[np.uint8]:
    """Return the same heart at one moment of its beat, in an empty chest."""
    habitus = draw_habitus(np.random.default_rng(3))
    walls = wall_layers(habitus, Column((0.0, 12.0), (130.0, 95.0), 2.3))
    heart = Heart(1.0, (0.0, 0.0, 0.0), systole)
    still = np.zeros(GRID.shape, dtype=np.float32)
    return paint([*walls, *heart_layers(heart, np.random.default_rng(4))], GRID, (still, still, still))


@pytest.mark.parametrize("seed", SEEDS)
def test_chambers_have_published_volumes_and_their_places(seed: int) -> None:
    volume = body(seed)
    for organ, (low, high) in CHAMBER_VOLUME_ML.items():
        assert low <= np.count_nonzero(volume == Tissue[organ.upper()]) * GRID.voxel_ml() <= high, organ
    where = {tissue: centre(volume, tissue) for tissue in BLOOD}
    lv, rv, la, ra = (where[tissue] for tissue in BLOOD[:4])
    # x points to the patient's right, y to the front, z to the head.
    assert ra[0] > la[0] > lv[0]
    assert rv[0] > lv[0]
    assert rv[1] > max(lv[1], ra[1])
    assert la[1] < min(lv[1], ra[1], rv[1])
    assert la[2] > lv[2]
    assert where[Tissue.PULMONARY_ARTERY][2] > la[2]


@pytest.mark.parametrize("seed", SEEDS)
def test_muscle_surrounds_the_left_ventricle_but_for_its_valves(seed: int) -> None:
    around = touched(body(seed), Tissue.LEFT_VENTRICLE)
    assert around[Tissue.MYOCARDIUM] > 0.7
    valves = around.get(Tissue.LEFT_ATRIUM, 0) + around.get(Tissue.AORTA, 0)
    assert around[Tissue.MYOCARDIUM] + valves + around.get(Tissue.HEART_WALL, 0) > 0.95
    assert Tissue.RIGHT_VENTRICLE not in around
    assert Tissue.LUNG not in around


@pytest.mark.parametrize("seed", SEEDS)
def test_what_blood_flows_between_is_in_contact(seed: int) -> None:
    volume = body(seed)
    for first, second in CONTACTS:
        assert second in touched(volume, first), (first.name, second.name)


def test_every_chamber_and_great_vessel_is_one_piece() -> None:
    volume = body(5)
    for tissue in BLOOD:
        regions, count = ndimage.label(volume == tissue, np.ones((3, 3, 3)))
        assert np.bincount(regions.ravel())[1:].max() > 0.97 * np.count_nonzero(regions), (tissue.name, count)


def test_in_systole_ventricles_empty_walls_thicken_and_atria_fill() -> None:
    filled, emptied = (
        {tissue: np.count_nonzero(volume == tissue) for tissue in Tissue} for volume in (beating(0.0), beating(1.0))
    )
    for ventricle in (Tissue.LEFT_VENTRICLE, Tissue.RIGHT_VENTRICLE):
        # Ejection fractions of healthy adults are 0.5 to 0.75.
        assert 0.4 < 1 - emptied[ventricle] / filled[ventricle] < 0.8
    assert emptied[Tissue.LEFT_ATRIUM] > 1.2 * filled[Tissue.LEFT_ATRIUM]
    # Muscle keeps its volume.
    assert emptied[Tissue.MYOCARDIUM] == pytest.approx(filled[Tissue.MYOCARDIUM], rel=0.25)


def test_hearts_differ_in_size_direction_and_moment() -> None:
    hearts = [draw_heart(draw_habitus(rng), rng) for rng in map(np.random.default_rng, range(30))]
    apex = np.stack([heart.axes()[:, 2] for heart in hearts])
    angles = np.degrees(np.arccos(np.clip(apex @ apex.T, -1, 1)))
    assert 5 < angles.max() < 60
    # The apex always points to the left, to the front and downwards.
    assert np.all(apex[:, 0] < 0)
    assert np.all(apex[:, 1] > 0)
    assert np.all(apex[:, 2] < 0)
    assert np.ptp([heart.systole for heart in hearts]) > 0.6
    for heart in hearts:
        np.testing.assert_allclose(heart.axes().T @ heart.axes(), np.eye(3), atol=1e-9)
        assert np.linalg.det(heart.axes()) == pytest.approx(1.0)


def test_labels_name_blood_and_myocardium_and_leave_out_what_has_no_id() -> None:
    volume = np.array(
        [[[Tissue.LEFT_VENTRICLE, Tissue.MYOCARDIUM, Tissue.HEART_WALL, Tissue.PULMONARY_VEIN]]], np.uint8
    )
    labels = label_heart(volume, GRID, {"left_ventricle": 46, "myocardium": 44})
    assert labels.tolist() == [[[46, 44, 0, 0]]]
    assert label_heart(volume, GRID, {"aorta": 7}).max() == 0

import numpy as np
import pytest
from scipy import ndimage

from fedgin.phantoms.abdomen import draw_abdomen, label_abdomen
from fedgin.phantoms.anatomy import rasterise
from fedgin.phantoms.ct import CtScan, draw_attenuation, draw_ct_scan, render_ct
from fedgin.phantoms.grid import trunk_grid
from fedgin.phantoms.region import REGIONS
from fedgin.phantoms.task import Task
from fedgin.phantoms.tissues import CT_PORTAL_VENOUS, ORGANS, Tissue

GRID = trunk_grid(2.5, 5.0)
ROWS = {"liver": Tissue.LIVER, "spleen": Tissue.SPLEEN, "gallbladder": Tissue.GALLBLADDER, "pancreas": Tissue.PANCREAS}


@pytest.mark.parametrize("task", list(Task))
def test_both_tables_cover_every_tissue_of_a_body_and_no_other(task: Task) -> None:
    region, rng = REGIONS[task], np.random.default_rng(0)
    painted = {layer.tissue for layer in region.draw(rng).layers} | {Tissue.AIR}
    assert set(region.attenuation(rng)) == set(region.relaxation(rng)) == painted
    assert set(region.bright) < painted


@pytest.mark.parametrize("seed", range(3))
def test_organ_means_lie_within_the_table(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tissues = rasterise(draw_abdomen(rng), GRID)
    ids = {organ: number for number, organ in enumerate(ORGANS, start=1)}
    labels = label_abdomen(tissues, GRID, ids)
    image = render_ct(tissues, GRID, draw_ct_scan(rng, GRID.spacing[2]), CT_PORTAL_VENOUS, rng)
    for organ, tissue in ROWS.items():
        # Partial volume changes the outermost voxels in plane; the pancreas is too thin to lose more than these.
        core = ndimage.binary_erosion(labels == ids[organ], np.ones((3, 3, 1)))
        row = CT_PORTAL_VENOUS[tissue]
        assert image[core].mean() == pytest.approx(row.mean, abs=2 * row.between + 8), organ
    cortex, medulla = CT_PORTAL_VENOUS[Tissue.RENAL_CORTEX], CT_PORTAL_VENOUS[Tissue.RENAL_MEDULLA]
    for side in ("right_kidney", "left_kidney"):
        core = ndimage.binary_erosion(labels == ids[side], np.ones((3, 3, 1)))
        assert medulla.mean - 2 * medulla.between - 8 < image[core].mean() < cortex.mean + 2 * cortex.between + 8


def test_patients_stay_within_two_deviations() -> None:
    draws = np.stack([draw_attenuation(CT_PORTAL_VENOUS, np.random.default_rng(seed)) for seed in range(200)])
    for tissue, row in CT_PORTAL_VENOUS.items():
        assert np.all(np.abs(draws[:, tissue] - row.mean) <= 2 * row.between + 1e-3)
    assert draws[:, Tissue.LIVER].mean() == pytest.approx(CT_PORTAL_VENOUS[Tissue.LIVER].mean, abs=3)


def test_noise_has_the_asked_deviation_and_air_is_minus_1000() -> None:
    uniform = np.full(GRID.shape, Tissue.GALLBLADDER, dtype=np.uint8)
    within = CT_PORTAL_VENOUS[Tissue.GALLBLADDER].within
    image = render_ct(uniform, GRID, CtScan(noise_hu=20.0, grain_mm=1.2), CT_PORTAL_VENOUS, np.random.default_rng(0))
    # The texture is blurred as an edge is, so it adds less than its own deviation.
    assert 20.0 <= image.std() <= np.hypot(20.0, within)
    air = render_ct(
        np.zeros(GRID.shape, dtype=np.uint8), GRID, CtScan(0.0, 1.2), CT_PORTAL_VENOUS, np.random.default_rng(0)
    )
    assert np.all(air == -1000.0)


def test_thin_slices_are_noisier() -> None:
    thick, thin = (draw_ct_scan(np.random.default_rng(0), slice_mm).noise_hu for slice_mm in (6.0, 1.5))
    assert thin == pytest.approx(2 * thick)

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from fedgin.phantoms.abdomen import draw_abdomen
from fedgin.phantoms.anatomy import rasterise
from fedgin.phantoms.grid import trunk_grid
from fedgin.phantoms.mr import (
    FIELD_DEPHASING_PER_MS,
    MrScan,
    Sequence,
    add_rician_noise,
    draw_mr_scan,
    draw_relaxation,
    render_mr,
    tissue_signal,
)
from fedgin.phantoms.tissues import MR_1_5_TESLA, Relaxation, Tissue

GRID = trunk_grid(3.0, 7.0)
ORGANS = (Tissue.LIVER, Tissue.SPLEEN, Tissue.RENAL_CORTEX)
QUIET = {"noise": 0.0, "shading": 0.0, "gain": 100.0}


def test_spoiled_gradient_echo_equation() -> None:
    scan = MrScan("t1w", tr=150.0, te=4.6, flip=90.0, fat_left=1.0, **QUIET)
    tissue = Relaxation(600.0, 0, 50.0, 0, 0.9)
    # At 90 degrees the steady state is plain saturation recovery.
    expected = 0.9 * (1 - math.exp(-150 / 600)) * math.exp(-4.6 * (1 / 50 + FIELD_DEPHASING_PER_MS))
    assert tissue_signal(tissue, scan, 7.0) == pytest.approx(expected)
    at_3_tesla = tissue_signal(tissue, replace(scan, tesla=3.0), 7.0)
    assert at_3_tesla == pytest.approx(expected * math.exp(-4.6 * FIELD_DEPHASING_PER_MS))


def test_balanced_steady_state_equation() -> None:
    tissue = Relaxation(1000.0, 0, 200.0, 0, 0.9)
    # At 90 degrees the angle's terms vanish but for E1 E2; for tr far below T1 and T2 the rest is known in closed form.
    scan = MrScan("bssfp", tr=0.01, te=0.0, flip=90.0, fat_left=0.2, **QUIET)
    assert tissue_signal(tissue, scan, 7.0) == pytest.approx(0.9 / (1 + 1000 / 200), rel=1e-4)
    fat = Relaxation(1000.0, 0, 200.0, 0, 0.9, fat=1.0)
    assert tissue_signal(fat, scan, 7.0) == pytest.approx(0.2 * tissue_signal(tissue, scan, 7.0))
    # Without transverse magnetisation left over, it is the spoiled gradient echo.
    short, angle = Relaxation(600.0, 0, 1e-3, 0, 1.0), math.radians(70)
    recovery = math.exp(-4 / 600)
    expected = math.sin(angle) * (1 - recovery) / (1 - recovery * math.cos(angle))
    scan = MrScan("bssfp", tr=4.0, te=0.0, flip=70.0, fat_left=1.0, **QUIET)
    assert tissue_signal(short, scan, 7.0) == pytest.approx(expected)


def test_spin_echo_equation_with_fat_and_flow() -> None:
    scan = MrScan("t2w_spir", tr=2000.0, te=80.0, flip=90.0, fat_left=0.1, **QUIET)
    still = 0.9 * (1 - math.exp(-2000 / 600)) * math.exp(-80 / 50)
    assert tissue_signal(Relaxation(600.0, 0, 50.0, 0, 0.9), scan, 7.0) == pytest.approx(still)
    assert tissue_signal(Relaxation(600.0, 0, 50.0, 0, 0.9, fat=1.0), scan, 7.0) == pytest.approx(0.1 * still)
    # 87.5 mm/s for 40 ms is 3.5 mm: half of the blood has left the slice.
    assert tissue_signal(Relaxation(600.0, 0, 50.0, 0, 0.9, flow=87.5), scan, 7.0) == pytest.approx(0.5 * still)
    assert tissue_signal(Relaxation(600.0, 0, 50.0, 0, 0.9, flow=900.0), scan, 7.0) == 0.0


@pytest.mark.parametrize("sequence", get_args(Sequence))
def test_a_noise_free_uniform_tissue_shows_the_equation(sequence: Sequence) -> None:
    drawn = draw_mr_scan(np.random.default_rng(0), sequence)
    scan = MrScan(sequence, drawn.tr, drawn.te, drawn.flip, drawn.fat_left, **QUIET)
    uniform = np.full(GRID.shape, Tissue.SPLEEN, dtype=np.uint8)
    image = render_mr(uniform, GRID, scan, MR_1_5_TESLA, ORGANS, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    people = {tissue: draw_relaxation(rng, mean) for tissue, mean in MR_1_5_TESLA.items()}
    signals = {tissue: tissue_signal(times, scan, GRID.spacing[2]) for tissue, times in people.items()}
    brightest = max(signals[organ] for organ in ORGANS)
    assert image.mean() == pytest.approx(100.0 * signals[Tissue.SPLEEN] / brightest, rel=0.01)


def test_rician_noise_in_air_and_in_strong_signal() -> None:
    rng = np.random.default_rng(2)
    air = add_rician_noise(np.zeros((100, 100, 20), dtype=np.float32), 3.0, rng)
    assert air.mean() == pytest.approx(3.0 * math.sqrt(math.pi / 2), rel=0.01)
    assert air.std() == pytest.approx(3.0 * math.sqrt(2 - math.pi / 2), rel=0.01)
    strong = add_rician_noise(np.full((100, 100, 20), 300.0, dtype=np.float32), 3.0, rng)
    assert strong.std() == pytest.approx(3.0, rel=0.01)


@pytest.mark.parametrize(
    ("sequence", "brighter", "darker"),
    [
        ("t1w", Tissue.LIVER, Tissue.SPLEEN),
        ("t1w", Tissue.SUBCUTANEOUS_FAT, Tissue.LIVER),
        ("t1w", Tissue.RENAL_CORTEX, Tissue.RENAL_MEDULLA),
        ("t2w_spir", Tissue.SPLEEN, Tissue.LIVER),
        ("t2w_spir", Tissue.LIVER, Tissue.SUBCUTANEOUS_FAT),
        ("t2w_spir", Tissue.GALLBLADDER, Tissue.SPLEEN),
        ("t2w", Tissue.SUBCUTANEOUS_FAT, Tissue.MUSCLE),
        ("bssfp", Tissue.AORTA, Tissue.LIVER),
        ("bssfp", Tissue.AORTA, Tissue.SUBCUTANEOUS_FAT),
        ("bssfp", Tissue.LIVER, Tissue.MUSCLE),
    ],
)
def test_contrast_between_tissues_is_the_known_one(sequence: Sequence, brighter: Tissue, darker: Tissue) -> None:
    scan = draw_mr_scan(np.random.default_rng(3), sequence)
    bright, dark = (tissue_signal(MR_1_5_TESLA[tissue], scan, 7.0) for tissue in (brighter, darker))
    assert bright > dark


def test_images_of_a_body_vary_in_gain_and_shading_but_not_in_air() -> None:
    tissues = rasterise(draw_abdomen(np.random.default_rng(4)), GRID)
    rngs = [np.random.default_rng(seed) for seed in (5, 6)]
    scans = [draw_mr_scan(rng, "t2w_spir") for rng in rngs]
    images = [render_mr(tissues, GRID, scan, MR_1_5_TESLA, ORGANS, rng) for scan, rng in zip(scans, rngs, strict=True)]
    liver = [float(image[tissues == Tissue.LIVER].mean()) for image in images]
    assert abs(liver[0] / liver[1] - 1) > 0.1
    for image, scan in zip(images, scans, strict=True):
        corner = image[:10, :10].mean()
        assert corner == pytest.approx(scan.noise * scan.gain * math.sqrt(math.pi / 2), rel=0.03)

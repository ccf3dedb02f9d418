import numpy as np

from fedgin.phantoms.cardiac_tissues import (
    LEFT_BLOOD,
    RIGHT_BLOOD,
    VENOUS,
    draw_cardiac_relaxation,
    draw_ct_angiography,
)
from fedgin.phantoms.mr import draw_mr_scan, tissue_signal
from fedgin.phantoms.tissues import Tissue

RNGS = [np.random.default_rng(seed) for seed in range(40)]


def test_left_heart_is_enhanced_and_the_right_one_is_of_another_moment() -> None:
    tables = [draw_ct_angiography(rng) for rng in RNGS]
    for table in tables:
        assert len({table[tissue] for tissue in LEFT_BLOOD}) == len({table[tissue] for tissue in RIGHT_BLOOD}) == 1
        assert table[Tissue.AORTA].mean > 250 > table[Tissue.MYOCARDIUM].mean
    lead = [table[Tissue.RIGHT_VENTRICLE].mean - table[Tissue.LEFT_VENTRICLE].mean for table in tables]
    assert min(lead) < -100
    assert max(lead) > 0


def test_blood_is_brighter_than_muscle_and_fat_in_every_scan() -> None:
    for rng in RNGS:
        table, scan = draw_cardiac_relaxation(rng), draw_mr_scan(rng, "bssfp")
        signal = {tissue: tissue_signal(row, scan, 7.0) for tissue, row in table.items()}
        assert len({signal[tissue] for tissue in LEFT_BLOOD}) == len({signal[tissue] for tissue in VENOUS}) == 1
        arterial, venous = signal[Tissue.AORTA], signal[Tissue.RIGHT_ATRIUM]
        assert arterial > venous > 1.5 * signal[Tissue.MYOCARDIUM]
        assert venous > signal[Tissue.VISCERAL_FAT]

"""CT and MR properties of the tissues in a thorax whose heart is imaged; the rules of :mod:`tissues` hold here too."""

from dataclasses import replace

import numpy as np

from fedgin.phantoms.tissues import CT_PORTAL_VENOUS, MR_1_5_TESLA, Attenuation, Relaxation, Tissue

CHAMBER_VOLUME_ML: dict[str, tuple[float, float]] = {
    "left_ventricle": (30.0, 220.0),
    "right_ventricle": (35.0, 260.0),
    "left_atrium": (20.0, 130.0),
    "right_atrium": (20.0, 160.0),
    "myocardium": (60.0, 220.0),
}
"""Volumes that an adult's chambers may have at any moment of the heart beat, in millilitres, as (low, high).

From the reference values of Kawel-Boehm et al., J Cardiovasc Magn Reson 22:87, 2020, for both sexes: the low end is
about the lower limit at the moment of the smallest volume, the high end the upper limit at that of the largest.
Myocardial mass is turned into volume with 1.05 g/ml.
"""

LEFT_BLOOD = (Tissue.LEFT_VENTRICLE, Tissue.LEFT_ATRIUM, Tissue.AORTA, Tissue.PULMONARY_VEIN)
RIGHT_BLOOD = (Tissue.RIGHT_VENTRICLE, Tissue.RIGHT_ATRIUM)
VENOUS = (*RIGHT_BLOOD, Tissue.PULMONARY_ARTERY, Tissue.SUPERIOR_VENA_CAVA, Tissue.INFERIOR_VENA_CAVA)
_TRUNK = (
    *(Tissue.AIR, Tissue.SKIN, Tissue.SUBCUTANEOUS_FAT, Tissue.VISCERAL_FAT, Tissue.MUSCLE, Tissue.CORTICAL_BONE),
    *(Tissue.MARROW, Tissue.DISC, Tissue.SPINAL_CANAL, Tissue.LUNG, Tissue.GUT_WALL, Tissue.GUT_CONTENT),
    *(Tissue.GAS, Tissue.LIVER),
)
_ARTERIAL: dict[Tissue, Attenuation] = {
    Tissue.LIVER: Attenuation(70, 10, 5),  # unenhanced 45 to 65 as in the abdomen; little agent has come here yet
    Tissue.GUT_WALL: Attenuation(60, 12, 8),  # assumed: as muscle
    Tissue.MYOCARDIUM: Attenuation(105, 14, 8),  # first pass, 90 to 120
    Tissue.HEART_WALL: Attenuation(100, 14, 8),  # assumed: as myocardium
    Tissue.INFERIOR_VENA_CAVA: Attenuation(95, 25, 12),  # renal veins return first; unmixed
}


def draw_ct_angiography(rng: np.random.Generator) -> dict[Tissue, Attenuation]:
    """Draw the moment of a CT angiography and return CT numbers at 120 kVp.

    Left heart and aorta are the aim of the phase, 300 to 450 HU (SCCT guidelines: Abbara et al., J Cardiovasc Comput
    Tomogr 10:435, 2016, ask for more than 250). The right heart still holds agent or is flushed already, 110 HU
    to more than the left; the superior vena cava carries what comes after it. Chambers of one side differ little.
    """
    left, right = float(rng.uniform(300, 450)), float(rng.uniform(110, 420))
    table = {tissue: CT_PORTAL_VENOUS[tissue] for tissue in _TRUNK} | _ARTERIAL
    table |= dict.fromkeys(LEFT_BLOOD, Attenuation(left, 10, 8))
    # Agent and blood without it mix in the right heart, so its texture is coarser.
    table |= dict.fromkeys(RIGHT_BLOOD, Attenuation(right, 12, 8 + 0.05 * right))
    table[Tissue.PULMONARY_ARTERY] = Attenuation(0.5 * (left + right), 20, 8)
    table[Tissue.SUPERIOR_VENA_CAVA] = Attenuation(1.2 * right, 40, 40)
    return table


_WALLS = replace(MR_1_5_TESLA[Tissue.HEART], flow=0.0)


def draw_cardiac_relaxation(rng: np.random.Generator) -> dict[Tissue, Relaxation]:
    """Draw one person's blood and return relaxation times at 1.5 T.

    All arterial blood of a person is the same, and so is all venous blood: its oxygen is used up in part, which lowers
    its T2 to about 180 ms at a saturation of 0.7 (Wright et al., J Magn Reson Imaging 1:275, 1991). Flow is 0: the
    balanced steady state that images hearts keeps the signal of blood that moves on. The thin walls are assumed to be
    as the myocardium.
    """
    blood = MR_1_5_TESLA[Tissue.AORTA]
    t1, arterial, venous = (float(d) for d in np.clip(rng.standard_normal(3), -2, 2))
    oxygenated = replace(blood, t1=blood.t1 + t1 * blood.t1_sd, t1_sd=0, t2=blood.t2 + arterial * 30, t2_sd=0, flow=0)
    table = {tissue: MR_1_5_TESLA[tissue] for tissue in _TRUNK}
    table |= dict.fromkeys(LEFT_BLOOD, oxygenated)
    table |= dict.fromkeys(VENOUS, replace(oxygenated, t2=180.0 + venous * 20))
    return table | {Tissue.MYOCARDIUM: _WALLS, Tissue.HEART_WALL: _WALLS}

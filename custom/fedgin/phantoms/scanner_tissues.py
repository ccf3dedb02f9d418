"""What the tissues of an abdomen look like at other moments after contrast agent and at 3 T; the rules of
:mod:`tissues` hold here too."""

from dataclasses import replace
from typing import Literal

from fedgin.phantoms.tissues import CT_PORTAL_VENOUS, MR_1_5_TESLA, Attenuation, Relaxation, Tissue

Phase = Literal["native", "arterial", "portal_venous"]

_NATIVE: dict[Tissue, Attenuation] = {
    Tissue.MUSCLE: Attenuation(45, 5, 6),  # 40 to 50
    Tissue.HEART: Attenuation(48, 5, 6),  # assumed: blood and muscle
    Tissue.AORTA: Attenuation(50, 5, 4),  # blood 45 to 65 [1]; anaemia lowers it
    Tissue.VEIN: Attenuation(50, 5, 4),
    Tissue.GUT_WALL: Attenuation(40, 8, 8),  # assumed: as muscle
    Tissue.LIVER: Attenuation(57, 6, 5),  # 45 to 65 [1]
    Tissue.HEPATIC_VESSEL: Attenuation(48, 5, 4),  # blood, a little darker than the liver
    Tissue.SPLEEN: Attenuation(46, 5, 5),  # 35 to 55 [1]
    Tissue.RENAL_CORTEX: Attenuation(31, 4, 5),  # 20 to 40 [1]
    Tissue.RENAL_MEDULLA: Attenuation(31, 4, 5),  # as the cortex: they cannot be told apart
    Tissue.PANCREAS: Attenuation(40, 6, 9),
}
_ARTERIAL: dict[Tissue, Attenuation] = {
    Tissue.MUSCLE: Attenuation(52, 6, 6),
    Tissue.HEART: Attenuation(220, 35, 20),  # assumed: bright blood in grey muscle
    Tissue.AORTA: Attenuation(310, 45, 6),  # above 250 is the aim of the phase
    Tissue.VEIN: Attenuation(95, 25, 10),  # renal and portal veins fill, the others do not yet
    Tissue.GUT_WALL: Attenuation(90, 15, 10),  # assumed: the mucosa enhances early
    Tissue.LIVER: Attenuation(70, 8, 5),  # +10 to 20: three quarters of its blood come by the portal vein
    Tissue.HEPATIC_VESSEL: Attenuation(85, 20, 5),  # the portal vein fills, hepatic veins do not yet
    Tissue.SPLEEN: Attenuation(140, 18, 16),  # bright and patchy
    Tissue.RENAL_CORTEX: Attenuation(200, 25, 8),  # the corticomedullary phase
    Tissue.RENAL_MEDULLA: Attenuation(75, 15, 8),
    Tissue.PANCREAS: Attenuation(112, 15, 9),  # brightest at 35 to 45 s
}
CT_PHASES: dict[Phase, dict[Tissue, Attenuation]] = {
    "native": CT_PORTAL_VENOUS | _NATIVE,
    "arterial": CT_PORTAL_VENOUS | _ARTERIAL,
    "portal_venous": CT_PORTAL_VENOUS,
}
"""CT numbers without contrast agent, about 40 s after it and about 70 s after it, 120 kVp, in HU.

[1] is the source of :data:`CT_PORTAL_VENOUS`. Rows without a number in brackets are rounded textbook values.
"""

_SLOWER = 1.2  # assumed, for tissues that the sources leave out: T1 grows by a fifth from 1.5 to 3 T
_3_TESLA: dict[Tissue, Relaxation] = {
    Tissue.SUBCUTANEOUS_FAT: Relaxation(382, 13, 68, 4, 0.97, fat=0.95),  # [1]
    Tissue.VISCERAL_FAT: Relaxation(382, 13, 68, 4, 0.97, fat=0.92),  # [1], with vessels and strands
    Tissue.MUSCLE: Relaxation(898, 33, 29, 4, 0.96),  # [1] paravertebral
    Tissue.MARROW: Relaxation(586, 73, 49, 4, 0.97, fat=0.45),  # [1] L4
    Tissue.HEART: Relaxation(1471, 31, 47, 11, 0.97, flow=60),  # [2] heart muscle
    Tissue.AORTA: Relaxation(1932, 85, 275, 50, 0.97, flow=200),  # [2] blood
    Tissue.VEIN: Relaxation(1932, 85, 275, 50, 0.97, flow=110),  # [2] blood
    Tissue.LIVER: Relaxation(809, 71, 34, 4, 0.97),  # [1]
    Tissue.HEPATIC_VESSEL: Relaxation(1932, 85, 275, 50, 0.97, flow=60),  # [2] blood
    Tissue.SPLEEN: Relaxation(1328, 31, 61, 9, 0.97),  # [1]
    Tissue.RENAL_CORTEX: Relaxation(1142, 154, 76, 7, 0.97),  # [1]
    Tissue.RENAL_MEDULLA: Relaxation(1545, 142, 81, 8, 0.97),  # [1]
    Tissue.PANCREAS: Relaxation(725, 71, 43, 7, 0.98),  # [1]
}
MR_BY_TESLA: dict[float, dict[Tissue, Relaxation]] = {
    1.5: MR_1_5_TESLA,
    3.0: {tissue: replace(row, t1=_SLOWER * row.t1) for tissue, row in MR_1_5_TESLA.items()} | _3_TESLA,
}
"""Relaxation times; [1] and [2] are the sources of :data:`MR_1_5_TESLA`, which measured at both field strengths."""

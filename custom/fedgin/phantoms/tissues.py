"""Tissues of the phantoms and the published CT and MR properties of those in an abdomen.

Every number that decides how a phantom looks stands in these tables. None was fitted to images, models or results.
"""

from dataclasses import dataclass
from enum import IntEnum

from fedgin.data.organs import ORGANS as KNOWN


class Tissue(IntEnum):
    """What a phantom voxel is made of; the value is the code in tissue volumes (uint8)."""

    AIR = 0
    SKIN = 1
    SUBCUTANEOUS_FAT = 2
    VISCERAL_FAT = 3
    MUSCLE = 4
    CORTICAL_BONE = 5
    MARROW = 6
    DISC = 7
    SPINAL_CANAL = 8
    LUNG = 9
    HEART = 10
    AORTA = 11
    VEIN = 12
    GUT_WALL = 13
    GUT_CONTENT = 14
    GAS = 15
    LIVER = 16
    HEPATIC_VESSEL = 17
    SPLEEN = 18
    GALLBLADDER = 19
    RENAL_CORTEX = 20
    RENAL_MEDULLA = 21
    RENAL_SINUS = 22
    PANCREAS = 23
    LEFT_VENTRICLE = 24
    RIGHT_VENTRICLE = 25
    LEFT_ATRIUM = 26
    RIGHT_ATRIUM = 27
    MYOCARDIUM = 28
    HEART_WALL = 29
    PULMONARY_ARTERY = 30
    PULMONARY_VEIN = 31
    SUPERIOR_VENA_CAVA = 32
    INFERIOR_VENA_CAVA = 33


ORGANS = ("liver", "spleen", "right_kidney", "left_kidney", "gallbladder", "pancreas")

ORGAN_VOLUME_ML = {organ: ml for organ in ORGANS if (ml := KNOWN[organ].adult_ml) is not None}
"""Volumes a normal adult organ may have, in millilitres, as (low, high); their sources are in the table of organs."""


@dataclass(frozen=True)
class Attenuation:
    """CT number of a tissue in HU: mean over patients, standard deviation between patients, and within one patient."""

    mean: float
    between: float
    within: float


CT_PORTAL_VENOUS: dict[Tissue, Attenuation] = {
    Tissue.AIR: Attenuation(-1000, 0, 0),
    Tissue.SKIN: Attenuation(30, 10, 8),  # assumed: soft tissue thinner than a voxel
    Tissue.SUBCUTANEOUS_FAT: Attenuation(-100, 8, 5),  # fat -50 to -100 [1], without partial volume
    Tissue.VISCERAL_FAT: Attenuation(-95, 8, 10),  # fat -50 to -100 [1], mesenteric strands add spread
    Tissue.MUSCLE: Attenuation(60, 7, 6),  # unenhanced 40 to 50, +10 to 20 enhancement
    Tissue.CORTICAL_BONE: Attenuation(500, 120, 40),  # above 250 to 700 [1]; the cortex of a vertebra is thin
    Tissue.MARROW: Attenuation(155, 40, 20),  # trabecular bone of L1, adults [2]
    Tissue.DISC: Attenuation(75, 12, 6),  # assumed: fibrocartilage
    Tissue.SPINAL_CANAL: Attenuation(30, 8, 4),  # cord 35 in fluid 5 to 15, mixed
    Tissue.LUNG: Attenuation(-840, 40, 25),  # inspiration -850 to -910 [1], bases are denser
    Tissue.HEART: Attenuation(125, 20, 10),  # blood and myocardium, like the veins
    Tissue.AORTA: Attenuation(150, 20, 4),  # blood 45 to 65 [1], +100
    Tissue.VEIN: Attenuation(145, 22, 5),  # portal and systemic veins, +90
    Tissue.GUT_WALL: Attenuation(80, 15, 10),  # assumed: mucosal enhancement of muscle
    Tissue.GUT_CONTENT: Attenuation(20, 15, 12),  # water 0 to soft food 40
    Tissue.GAS: Attenuation(-980, 10, 0),
    Tissue.LIVER: Attenuation(108, 13, 5),  # unenhanced 45 to 65 [1], +50 or more is the aim of the phase [3]
    Tissue.HEPATIC_VESSEL: Attenuation(155, 20, 5),  # as the portal vein
    Tissue.SPLEEN: Attenuation(120, 14, 5),  # unenhanced 35 to 55 [1], +75
    Tissue.GALLBLADDER: Attenuation(10, 6, 3),  # bile 0 to 20
    Tissue.RENAL_CORTEX: Attenuation(185, 22, 7),  # unenhanced 20 to 40 [1], +150
    Tissue.RENAL_MEDULLA: Attenuation(150, 25, 7),  # lags the cortex at 70 s
    Tissue.RENAL_SINUS: Attenuation(-60, 20, 20),  # fat mixed with vessels and calices
    Tissue.PANCREAS: Attenuation(92, 14, 9),  # unenhanced about 40, +50; lobules with fat between
}
"""CT numbers about 70 s after intravenous contrast, 120 kVp, in HU.

Unenhanced ranges: [1] Prokop M, Galanski M, Spiral and Multislice Computed Tomography of the Body, Thieme 2003.
Trabecular bone: [2] Pickhardt et al., Ann Intern Med 158:588, 2013. Liver enhancement: [3] Heiken et al., Radiology
187:327, 1993. Where a row names an enhancement without a number in brackets it is a rounded textbook value, and rows
marked "assumed" have no source.
"""


@dataclass(frozen=True)
class Relaxation:
    """MR properties at 1.5 T: T1 and T2 with their standard deviations between people, all in milliseconds.

    ``protons`` is the hydrogen density relative to water, ``fat`` the share of signal from fat (0 to 1), and ``flow``
    the mean blood speed through the slice in mm/s.
    """

    t1: float
    t1_sd: float
    t2: float
    t2_sd: float
    protons: float
    fat: float = 0.0
    flow: float = 0.0


MR_1_5_TESLA: dict[Tissue, Relaxation] = {
    Tissue.AIR: Relaxation(1000, 0, 100, 0, 0.0),
    Tissue.SKIN: Relaxation(850, 60, 30, 5, 0.97),  # assumed: as muscle
    Tissue.SUBCUTANEOUS_FAT: Relaxation(343, 37, 58, 4, 0.97, fat=0.95),  # [1]
    Tissue.VISCERAL_FAT: Relaxation(343, 37, 58, 4, 0.97, fat=0.92),  # [1], with vessels and strands
    Tissue.MUSCLE: Relaxation(856, 61, 27, 8, 0.96),  # [1] paravertebral
    Tissue.CORTICAL_BONE: Relaxation(200, 30, 0.46, 0.02, 0.58),  # [3]
    Tissue.MARROW: Relaxation(549, 52, 49, 8, 0.97, fat=0.45),  # [1] L4
    Tissue.DISC: Relaxation(1000, 80, 70, 12, 0.95),  # assumed: hydrated cartilage
    Tissue.SPINAL_CANAL: Relaxation(2500, 300, 400, 60, 0.99),  # assumed: fluid 4300/2200 around cord 750/90
    Tissue.LUNG: Relaxation(1200, 100, 20, 4, 0.24),  # assumed; density from [4]
    Tissue.HEART: Relaxation(1030, 35, 40, 6, 0.97, flow=60),  # [2] heart muscle
    Tissue.AORTA: Relaxation(1441, 120, 290, 30, 0.97, flow=200),  # [2] blood
    Tissue.VEIN: Relaxation(1441, 120, 290, 30, 0.97, flow=110),  # [2] blood
    Tissue.GUT_WALL: Relaxation(900, 80, 60, 10, 0.97),  # assumed
    Tissue.GUT_CONTENT: Relaxation(1800, 350, 150, 40, 0.98),  # assumed: watery food
    Tissue.GAS: Relaxation(1000, 0, 100, 0, 0.0),
    Tissue.LIVER: Relaxation(586, 39, 46, 6, 0.97),  # [1]
    Tissue.HEPATIC_VESSEL: Relaxation(1441, 120, 290, 30, 0.97, flow=60),  # [2] blood
    Tissue.SPLEEN: Relaxation(1057, 42, 79, 15, 0.97),  # [1]
    Tissue.GALLBLADDER: Relaxation(1600, 350, 450, 90, 0.99),  # assumed: bile between water and concentrate
    Tissue.RENAL_CORTEX: Relaxation(966, 58, 87, 4, 0.97),  # [1]
    Tissue.RENAL_MEDULLA: Relaxation(1412, 58, 85, 11, 0.97),  # [1]
    Tissue.RENAL_SINUS: Relaxation(600, 80, 90, 15, 0.97, fat=0.6),  # assumed: fat, vessels and urine
    Tissue.PANCREAS: Relaxation(584, 14, 46, 6, 0.98),  # [1]
}
"""Relaxation times at 1.5 T.

[1] de Bazelaire et al., Radiology 230:652, 2004. [2] Stanisz et al., Magn Reson Med 54:507, 2005. [3] T1 140 to 260,
T2* 0.42 to 0.50, as collected by Rank et al., Radiat Oncol 8:51, 2013. Rows marked "assumed" have no single source.
Hydrogen density: mass fraction of hydrogen times density over that of water, [4] ICRU Report 46, 1992. Blood speeds
are typical time averages (aorta about 20 cm/s, great veins about 10 cm/s).
"""

"""The known organs by the names that the jobs of this package use, and what a name like one of them means.

A site and a job find each other's organs by name. So a misspelt name trains nothing, without a word; a name that is
really new is allowed, and everybody has to spell it alike.
"""

import difflib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

# A word that agrees by this share with a known one is a slip of the keyboard: one letter in four.
SLIP = 0.75
SHORTEST_SLIP = 4
# Words that some names have and others leave out.
FILLERS = {"and", "gland", "of", "the"}
# How others write a word of ours.
SPELLINGS = {
    "esophagus": "oesophagus",
    "hemorrhage": "haemorrhage",
    "tumor": "tumour",
    "disk": "disc",
    "l": "left",
    "lt": "left",
    "r": "right",
    "rt": "right",
}


@dataclass(frozen=True)
class Organ:
    """What is known of an organ besides its name.

    Attributes:
        other_names: how others call it, where that is more than another order of words.
    """

    other_names: tuple[str, ...] = ()


PLAIN = Organ()


def _of_each_side(*organs: str) -> dict[str, Organ]:
    return {f"{side}_{organ}": PLAIN for organ in organs for side in ("left", "right")}


def _plain(*organs: str) -> dict[str, Organ]:
    return dict.fromkeys(organs, PLAIN)


ORGANS: dict[str, Organ] = {
    # Abdomen and pelvis.
    **_plain("liver", "spleen", "pancreas", "stomach", "duodenum", "small_bowel", "colon", "rectum", "appendix"),
    **_plain("jejunum", "ileum", "caecum", "bowel", "abdomen", "omentum", "mesentery"),
    **_plain("oesophagus", "prostate", "uterus", "cervix", "vagina", "urethra", "penis", "kidneys"),
    **_plain("hepatic_vein", "hepatic_veins", "hepatic_vessels", "coeliac_trunk", "superior_mesenteric_artery"),
    **_plain("portal_and_splenic_vein", "portal_vein", "splenic_vein", "adrenals", "ovaries", "seminal_vesicles"),
    **_plain("liver_tumour", "pancreas_tumour", "kidney_tumour", "colon_tumour", "tumour", "lesion", "cyst", "ascites"),
    **_of_each_side("kidney", "adrenal", "ovary", "ureter", "testis", "kidney_cyst", "kidney_tumour"),
    "gallbladder": Organ(("gall_bladder",)),
    "bladder": Organ(("urinary_bladder",)),
    # Heart and vessels.
    **_plain("heart", "whole_heart", "pericardium", "aorta", "ascending_aorta", "descending_aorta", "aortic_arch"),
    **_plain("pulmonary_veins", "pulmonary_vein", "coronary_arteries", "coronary_sinus", "left_atrial_appendage"),
    **_plain("brachiocephalic_trunk", "septum", "scar", "mitral_valve", "aortic_valve", "tricuspid_valve"),
    **_of_each_side("brachiocephalic_vein", "subclavian_artery", "common_carotid_artery", "internal_jugular_vein"),
    **_of_each_side("common_iliac_artery", "common_iliac_vein", "iliac_artery", "iliac_vein", "coronary_artery"),
    "left_ventricle": Organ(("lv",)),
    "right_ventricle": Organ(("rv",)),
    "left_atrium": Organ(("la",)),
    "right_atrium": Organ(("ra",)),
    "myocardium": Organ(("myo", "left_ventricular_myocardium", "left_ventricle_myocardium", "heart_myocardium")),
    "pulmonary_artery": Organ(("pa",)),
    "inferior_vena_cava": Organ(("ivc", "postcava")),
    "superior_vena_cava": Organ(("svc",)),
    # Chest.
    **_plain("lungs", "trachea", "bronchi", "mediastinum", "diaphragm", "thymus", "breasts", "pleural_effusion"),
    **_plain("lung_nodule", "lung_tumour", "airways", "lung_vessels"),
    **_of_each_side("lung", "breast", "bronchus", "upper_lobe", "lower_lobe", "lung_upper_lobe", "lung_lower_lobe"),
    **_plain("right_middle_lobe", "right_lung_middle_lobe"),
    # Head and neck.
    **_plain("brain", "brainstem", "cerebellum", "cerebrum", "white_matter", "grey_matter", "cerebrospinal_fluid"),
    **_plain("ventricles", "hippocampus", "pituitary", "optic_chiasm", "thyroid", "larynx", "pharynx", "tongue"),
    **_plain("oral_cavity", "mandible", "maxilla", "skull", "face", "spinal_cord", "spinal_canal", "brain_tumour"),
    **_plain("oedema", "enhancing_tumour", "necrosis", "thyroid_cartilage"),
    **_of_each_side("eye", "lens", "optic_nerve", "parotid", "submandibular", "cochlea", "hippocampus", "thalamus"),
    **_of_each_side("caudate", "putamen", "pallidum", "amygdala", "accumbens", "thyroid_lobe"),
    # Bones, muscles and the rest.
    **_plain("spine", "sternum", "sacrum", "coccyx", "ribs", "pelvis", "vertebrae", "bone", "bones", "body", "skin"),
    **_plain("intervertebral_discs", "costal_cartilages", "muscle", "fat", "lymph_nodes", "lymph_node"),
    **_plain("subcutaneous_fat", "visceral_fat", "skeletal_muscle"),
    **_plain(*(f"vertebra_{region}{number}" for region in "ctls" for number in range(1, 13))),
    **_of_each_side("clavicle", "scapula", "humerus", "femur", "hip", "radius", "ulna", "tibia", "fibula", "patella"),
    **_of_each_side(
        "gluteus_maximus", "gluteus_medius", "gluteus_minimus", "autochthon", "iliopsoas", "psoas", "ilium"
    ),
    **_of_each_side(*(f"rib_{number}" for number in range(1, 13)), "ribs"),
}


class Likeness(Enum):
    """How a name is like a known one."""

    SAME = "another name of"
    SLIP = "a slip in"


def resembled(name: str, among: Collection[str] = ORGANS.keys()) -> tuple[str, Likeness] | None:
    """Return the organ that is meant by a name which is not in ``among``; ``None`` for one that is like none of them.

    Example:
        >>> resembled("livr")
        ('liver', <Likeness.SLIP: 'a slip in'>)
        >>> resembled("kidney_left")
        ('left_kidney', <Likeness.SAME: 'another name of'>)
        >>> resembled("left_kidney_stone")
    """
    words = _meaning(name)
    for known in among:
        others = (known, *ORGANS.get(known, PLAIN).other_names)
        if words in map(_meaning, others) or name.replace("_", "") in {other.replace("_", "") for other in others}:
            return known, Likeness.SAME
    likeness = {known: _agreement(words, _meaning(known)) for known in among}
    best = max(likeness, key=lambda known: likeness[known], default="")
    return (best, Likeness.SLIP) if best and likeness[best] >= SLIP else None


def _meaning(name: str) -> tuple[str, ...]:
    """Return the words of a name without fillers, in one spelling and one order."""
    words = [SPELLINGS.get(word, word) for word in name.split("_")]
    return tuple(sorted(word for word in words if word not in FILLERS))


def _agreement(first: tuple[str, ...], second: tuple[str, ...]) -> float:
    """Return how alike the least alike words of two names are, 0 to 1.

    Words of three letters and words with digits are no slips of each other.
    """
    ours, theirs = (
        sorted((Counter(one) - Counter(other)).elements()) for one, other in ((first, second), (second, first))
    )
    if len(ours) != len(theirs):
        return 0.0
    pairs = list(zip(ours, theirs, strict=True))
    if any(len(word) < SHORTEST_SLIP or not word.isalpha() for pair in pairs for word in pair):
        return 0.0
    return min((difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs), default=1.0)

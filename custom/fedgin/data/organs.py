"""The known organs: names that the jobs of this package use, other names, SNOMED CT codes, volumes of adults.

Codes and meanings are those of DICOM PS3.16 (context groups 4, 7151 and 12304); where an organ is one of a pair, its
side stands beside the code, as the standard asks. A test holds them against pydicom's dictionary.

Volumes are what a normal adult may have, in millilitres. Means on CT, women and men (Geraghty et al., Abdom Imaging
29:482, 2004): liver 1411 and 1710, spleen 180 and 238, one kidney 157 and 193, pancreas 64 and 87. Spleen 198 +/- 88
(Caglar et al., Folia Morphol 73:331, 2014). Gallbladder, fasting, 17 to 19 (Palasciano et al., Am J Gastroenterol
87:493, 1992) and 20 +/- 10 (Ewunonu, J Sci Innov Res 5:96, 2016), up to 70 in textbooks. These ranges are the means and
about two to three standard deviations, rounded outwards. Of the other organs the reference woman and man (ICRP
Publication 89, 2002: adrenals 13 and 14 g, oesophagus 35 and 40 g, prostate 17 g, heart with blood 620 and 840 g, lungs
with 2.7 and 3.3 l of gas at rest, brain 1300 and 1450 g, thyroid 17 and 20 g) and about half to twice as much, rounded
outwards. What has no range here is mostly seen in part only, as the aorta is, or varies as the bladder does.
"""

from dataclasses import dataclass
from typing import Literal

Side = Literal["", "left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")


@dataclass(frozen=True)
class Organ:
    """What is known of an organ besides its name.

    Attributes:
        other_names: how others call it, where that is more than another order of words.
        code: value and meaning in SNOMED CT; ``None`` where DICOM names none.
        side: of an organ that is one of a pair.
        adult_ml: smallest and largest volume of a normal adult's organ; ``None`` where that says nothing.
    """

    other_names: tuple[str, ...] = ()
    code: tuple[str, str] | None = None
    side: Side = ""
    adult_ml: tuple[float, float] | None = None


PLAIN = Organ()


def _of_each_side(*organs: str) -> dict[str, Organ]:
    return {f"{side}_{organ}": Organ(side=side) for organ in organs for side in SIDES}


def _pair(organ: str, value: str, meaning: str, adult_ml: tuple[float, float] | None = None) -> dict[str, Organ]:
    return {f"{side}_{organ}": Organ((), (value, meaning), side, adult_ml) for side in SIDES}


def _plain(*organs: str) -> dict[str, Organ]:
    return dict.fromkeys(organs, PLAIN)


def _coded(value: str, meaning: str, *other_names: str, adult_ml: tuple[float, float] | None = None) -> Organ:
    return Organ(other_names, (value, meaning), adult_ml=adult_ml)


ORGANS: dict[str, Organ] = {
    # Abdomen and pelvis.
    "liver": _coded("10200004", "Liver", adult_ml=(800.0, 2500.0)),
    "spleen": _coded("78961009", "Spleen", adult_ml=(80.0, 480.0)),
    "pancreas": _coded("15776009", "Pancreas", adult_ml=(25.0, 150.0)),
    "gallbladder": _coded("28231008", "Gallbladder", "gall_bladder", adult_ml=(5.0, 70.0)),
    **_pair("kidney", "64033007", "Kidney", (70.0, 300.0)),
    "kidneys": _coded("64033007", "Kidney", adult_ml=(140.0, 600.0)),
    **_pair("adrenal", "23451007", "Adrenal gland", (1.5, 15.0)),
    "adrenals": _coded("23451007", "Adrenal gland", adult_ml=(3.0, 30.0)),
    "stomach": _coded("69695003", "Stomach"),
    "duodenum": _coded("38848004", "Duodenum"),
    "jejunum": _coded("21306003", "Jejunum"),
    "ileum": _coded("34516001", "Ileum"),
    "small_bowel": _coded("30315005", "Small intestine"),
    "appendix": _coded("66754008", "Appendix"),
    "caecum": _coded("32713005", "Cecum"),
    "colon": _coded("71854001", "Colon"),
    "rectum": _coded("34402009", "Rectum"),
    "oesophagus": _coded("32849002", "Esophagus", adult_ml=(10.0, 80.0)),
    "bladder": _coded("89837001", "Bladder", "urinary_bladder"),
    "prostate": _coded("41216001", "Prostate", adult_ml=(8.0, 80.0)),
    "prostate_or_uterus": Organ(("prostate_uterus",)),
    "uterus": _coded("35039007", "Uterus"),
    **_pair("ovary", "15497006", "Ovary"),
    "ovaries": _coded("15497006", "Ovary"),
    **_pair("ureter", "87953007", "Ureter"),
    **_pair("testis", "40689003", "Testis"),
    "portal_vein": _coded("32764006", "Portal vein"),
    "splenic_vein": _coded("35819009", "Splenic vein"),
    "hepatic_vein": _coded("8993003", "Hepatic vein"),
    "hepatic_veins": _coded("8993003", "Hepatic vein"),
    **_plain("bowel", "abdomen", "omentum", "mesentery", "cervix", "vagina", "urethra", "penis", "seminal_vesicles"),
    **_plain("hepatic_vessels", "coeliac_trunk", "superior_mesenteric_artery", "portal_and_splenic_vein"),
    **_plain("liver_tumour", "pancreas_tumour", "kidney_tumour", "colon_tumour", "tumour", "lesion", "cyst", "ascites"),
    **_of_each_side("kidney_cyst", "kidney_tumour"),
    # Heart and vessels.
    "heart": _coded("80891009", "Heart", adult_ml=(350.0, 1500.0)),
    "whole_heart": _coded("80891009", "Heart", adult_ml=(350.0, 1500.0)),
    "pericardium": _coded("76848001", "Pericardium"),
    "left_ventricle": _coded("87878005", "Left ventricle", "lv"),
    "right_ventricle": _coded("53085002", "Right ventricle", "rv"),
    "left_atrium": _coded("82471001", "Left atrium", "la"),
    "right_atrium": _coded("73829009", "Right atrium", "ra"),
    "myocardium": _coded(
        *("49848007", "Left Ventricle Myocardium"),
        *("myo", "left_ventricular_myocardium", "left_ventricle_myocardium", "heart_myocardium"),
    ),
    "aorta": _coded("15825003", "Aorta"),
    "ascending_aorta": _coded("54247002", "Ascending aorta"),
    "aortic_arch": _coded("57034009", "Aortic arch"),
    "descending_aorta": _coded("281130003", "Descending aorta"),
    "pulmonary_artery": _coded("81040000", "Pulmonary artery", "pa"),
    "pulmonary_vein": _coded("122972007", "Pulmonary vein"),
    "pulmonary_veins": _coded("122972007", "Pulmonary vein"),
    "inferior_vena_cava": _coded("64131007", "Inferior vena cava", "ivc", "postcava"),
    "superior_vena_cava": _coded("48345005", "Superior vena cava", "svc"),
    "coronary_sinus": _coded("90219004", "Coronary sinus"),
    "brachiocephalic_trunk": _coded("12691009", "brachiocephalic trunk"),
    **_plain("coronary_arteries", "left_atrial_appendage", "septum", "scar"),
    **_plain("mitral_valve", "aortic_valve", "tricuspid_valve"),
    **_of_each_side("brachiocephalic_vein", "subclavian_artery", "common_carotid_artery", "internal_jugular_vein"),
    **_of_each_side("common_iliac_artery", "common_iliac_vein", "iliac_artery", "iliac_vein", "coronary_artery"),
    # Chest.
    "lungs": _coded("39607008", "Lung", adult_ml=(1500.0, 9000.0)),
    **_pair("lung", "39607008", "Lung", (600.0, 5000.0)),
    "trachea": _coded("44567001", "Trachea"),
    **_pair("bronchus", "955009", "Bronchus"),
    "bronchi": _coded("955009", "Bronchus"),
    "thymus": _coded("9875009", "Thymus"),
    **_pair("breast", "76752008", "Breast"),
    "breasts": _coded("76752008", "Breast"),
    **_plain("mediastinum", "diaphragm", "pleural_effusion", "lung_nodule", "lung_tumour", "airways", "lung_vessels"),
    **_of_each_side("upper_lobe", "lower_lobe", "lung_upper_lobe", "lung_lower_lobe"),
    **_plain("right_middle_lobe", "right_lung_middle_lobe"),
    # Head and neck.
    "brain": _coded("12738006", "Brain", adult_ml=(900.0, 1900.0)),
    "cerebellum": _coded("113305005", "Cerebellum"),
    "thyroid": Organ(adult_ml=(5.0, 50.0)),
    "spinal_cord": _coded("2748008", "Spinal cord"),
    "mandible": _coded("91609006", "Mandible"),
    "hippocampus": _coded("5366008", "Hippocampus"),
    **_pair("hippocampus", "5366008", "Hippocampus"),
    **_pair("eye", "81745001", "Eye"),
    **_pair("optic_nerve", "18234004", "optic nerve"),
    **_pair("parotid", "45289007", "Parotid gland"),
    **_plain("brainstem", "cerebrum", "white_matter", "grey_matter", "cerebrospinal_fluid"),
    **_plain("ventricles", "pituitary", "optic_chiasm", "larynx", "pharynx", "tongue"),
    **_plain("oral_cavity", "maxilla", "skull", "face", "spinal_canal", "brain_tumour"),
    **_plain("oedema", "enhancing_tumour", "necrosis", "thyroid_cartilage"),
    **_of_each_side("lens", "submandibular", "cochlea", "thalamus"),
    **_of_each_side("caudate", "putamen", "pallidum", "amygdala", "accumbens", "thyroid_lobe"),
    # Bones, muscles and the rest.
    "sternum": _coded("56873002", "Sternum"),
    "sacrum": _coded("54735007", "Sacrum"),
    "skin": _coded("39937001", "Skin"),
    "ribs": _coded("113197003", "Rib"),
    "vertebrae": _coded("51282000", "Vertebra"),
    "lymph_nodes": _coded("59441001", "Lymph Node"),
    "lymph_node": _coded("59441001", "Lymph Node"),
    **_pair("clavicle", "51299004", "Clavicle"),
    **_pair("scapula", "79601000", "Scapula"),
    **_pair("humerus", "85050009", "Humerus"),
    **_pair("femur", "71341001", "Femur"),
    **_plain("spine", "coccyx", "pelvis", "bone", "bones", "body"),
    **_plain("intervertebral_discs", "costal_cartilages", "muscle", "fat"),
    **_plain("subcutaneous_fat", "visceral_fat", "skeletal_muscle"),
    **_plain(*(f"vertebra_{region}{number}" for region in "ctls" for number in range(1, 13))),
    **_of_each_side("hip", "radius", "ulna", "tibia", "fibula", "patella"),
    **_of_each_side(
        "gluteus_maximus", "gluteus_medius", "gluteus_minimus", "autochthon", "iliopsoas", "psoas", "ilium"
    ),
    **_of_each_side(*(f"rib_{number}" for number in range(1, 13)), "ribs"),
}

# What is in several pieces in a healthy person.
IN_PIECES = frozenset(
    {
        *("kidneys", "adrenals", "ovaries", "lungs", "breasts", "bronchi", "seminal_vesicles", "lymph_nodes"),
        *("ribs", "left_ribs", "right_ribs", "vertebrae", "bones", "bone", "intervertebral_discs", "ventricles"),
        *("costal_cartilages", "muscle", "fat", "skeletal_muscle", "visceral_fat", "subcutaneous_fat", "scar"),
        *("hepatic_vein", "hepatic_veins", "hepatic_vessels", "lung_vessels", "pulmonary_vein", "pulmonary_veins"),
        *("coronary_arteries", "portal_and_splenic_vein", "hippocampus", "white_matter", "grey_matter", "bowel"),
        *("tumour", "lesion", "cyst", "ascites", "pleural_effusion", "lung_nodule", "oedema", "necrosis"),
        *(name for name in ORGANS if name.endswith(("_tumour", "_cyst"))),
    }
)

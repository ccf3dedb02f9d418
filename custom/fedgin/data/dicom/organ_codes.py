"""SNOMED CT codes of organs, as DICOM segmentations and reports name them.

Codes and meanings are those of DICOM PS3.16 (context groups 4, 7151 and 12304); where an organ is one of a pair, the
side is a modifier, as the standard asks. A test holds the table against pydicom's dictionary.
"""

from dataclasses import dataclass

from pydicom.sr.coding import Code

RIGHT = Code("24028007", "SCT", "Right")
LEFT = Code("7771000", "SCT", "Left")
# For an organ that the table does not have: the label keeps its name.
ORGAN = Code("91772007", "SCT", "Organ")
ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")


@dataclass(frozen=True)
class OrganCode:
    """An organ in SNOMED CT.

    Attributes:
        code: the code of the organ.
        side: ``RIGHT`` or ``LEFT`` for one of a pair.
    """

    code: Code
    side: Code | None = None


def _sct(value: str, meaning: str) -> Code:
    return Code(value, "SCT", meaning)


_KIDNEY = _sct("64033007", "Kidney")
_ADRENAL = _sct("23451007", "Adrenal gland")

ORGAN_CODES = {
    "liver": OrganCode(_sct("10200004", "Liver")),
    "spleen": OrganCode(_sct("78961009", "Spleen")),
    "pancreas": OrganCode(_sct("15776009", "Pancreas")),
    "gallbladder": OrganCode(_sct("28231008", "Gallbladder")),
    "kidneys": OrganCode(_KIDNEY),
    "right_kidney": OrganCode(_KIDNEY, RIGHT),
    "left_kidney": OrganCode(_KIDNEY, LEFT),
    "right_adrenal": OrganCode(_ADRENAL, RIGHT),
    "left_adrenal": OrganCode(_ADRENAL, LEFT),
    "stomach": OrganCode(_sct("69695003", "Stomach")),
    "duodenum": OrganCode(_sct("38848004", "Duodenum")),
    "oesophagus": OrganCode(_sct("32849002", "Esophagus")),
    "bladder": OrganCode(_sct("89837001", "Bladder")),
    "prostate": OrganCode(_sct("41216001", "Prostate")),
    "portal_vein": OrganCode(_sct("32764006", "Portal vein")),
    "aorta": OrganCode(_sct("15825003", "Aorta")),
    "inferior_vena_cava": OrganCode(_sct("64131007", "Inferior vena cava")),
    "superior_vena_cava": OrganCode(_sct("48345005", "Superior vena cava")),
    "pulmonary_artery": OrganCode(_sct("81040000", "Pulmonary artery")),
    "left_ventricle": OrganCode(_sct("87878005", "Left ventricle")),
    "right_ventricle": OrganCode(_sct("53085002", "Right ventricle")),
    "left_atrium": OrganCode(_sct("82471001", "Left atrium")),
    "right_atrium": OrganCode(_sct("73829009", "Right atrium")),
    "myocardium": OrganCode(_sct("49848007", "Left Ventricle Myocardium")),
    "whole_heart": OrganCode(_sct("80891009", "Heart")),
}


def code_of(organ: str) -> OrganCode:
    """Return an organ's code; that of "organ" for a name that the table does not have.

    Example:
        >>> code_of("left_kidney").code.meaning, code_of("left_kidney").side.meaning
        ('Kidney', 'Left')
        >>> code_of("appendix").code.meaning
        'Organ'
    """
    return ORGAN_CODES.get(organ, OrganCode(ORGAN))

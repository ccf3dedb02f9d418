"""Left and right: which organs lie on the side where nearly everybody has them."""

from collections.abc import Mapping

from fedgin.data.datalist import Case
from fedgin.data.validation.findings import Finding, warn

PARTNERS = {"liver": "spleen", "spleen": "liver"}


def check_sides(case: Case, right_mm: Mapping[str, float]) -> list[Finding]:
    """Warn when labelled organs lie on the wrong side.

    Nothing in a file proves which side is which. An organ with a side (liver, spleen, ``left_*``, ``right_*``) must
    lie on that side of its partner, or of the grid's centre when the partner is not shown.

    Args:
        case: the case, for the message.
        right_mm: organ centres in mm to the patient's right of the grid's centre.
    """
    wrong = sorted(organ for organ in right_mm if _is_swapped(organ, right_mm))
    if not wrong:
        return []
    names = ", ".join(organ.replace("_", " ") for organ in wrong)
    message = f"{case}: on the other side of the patient than expected: {names}"
    fix = (
        "look at the picture: if image and label are mirrored, export both with their own geometry; if only the label "
        "is, correct it or the ids in 'labels'; if the patient is (situs inversus), keep the case"
    )
    return [warn("left_right", message, fix, case)]


def _is_swapped(organ: str, right_mm: Mapping[str, float]) -> bool:
    side = _side(organ)
    offset = right_mm[organ] - right_mm.get(_partner(organ), 0.0)
    return (side == "right" and offset < 0) or (side == "left" and offset > 0)


def _side(organ: str) -> str | None:
    if organ == "liver" or organ.startswith("right_") or organ.endswith("_right"):
        return "right"
    if organ == "spleen" or organ.startswith("left_") or organ.endswith("_left"):
        return "left"
    return None


def _partner(organ: str) -> str:
    if organ in PARTNERS:
        return PARTNERS[organ]
    words = {"left": "right", "right": "left"}
    return "_".join(words.get(word, word) for word in organ.split("_"))

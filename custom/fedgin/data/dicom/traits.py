"""What tells slices at one position of one series apart."""

from dataclasses import dataclass

import pydicom

from fedgin.data.dicom.elements import number, text, values

# (group, element in the block, owner of the block): where scanners write the b-value apart from the standard's element.
_PRIVATE_B_VALUES = (
    (0x0019, 0x0C, "SIEMENS MR HEADER"),
    (0x0043, 0x39, "GEMS_PARM_01"),
    (0x2001, 0x03, "Philips Imaging DD 001"),
)
# One maker adds this to every b-value.
_B_VALUE_OFFSET = 1e9
# The order in which they say what came first.
_MOMENTS = (
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "AcquisitionNumber"),
    *("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "FrameAcquisitionDateTime"),
    *("TriggerTime", "NominalCardiacTriggerDelayTime"),
)


@dataclass(frozen=True, slots=True)
class Traits:
    """Values of one slice.

    Attributes:
        stack: name of the stack in an enhanced image; empty when absent.
        echo_time: ms; ``None`` when absent.
        b_value: s/mm2; ``None`` when absent.
        moment: numbers that sort slices by time, all 0 when nothing says when.
    """

    stack: str = ""
    echo_time: float | None = None
    b_value: float | None = None
    moment: tuple[float, ...] = ()


NO_TRAITS = Traits()


def traits_of(dataset: pydicom.Dataset) -> Traits:
    """Read the traits of a header, or of what it says of one frame.

    Raises:
        ValueError: a value is no number.
    """
    return Traits(
        stack=text(dataset, "StackID"),
        echo_time=_optional(dataset, "EffectiveEchoTime", "EchoTime"),
        b_value=_b_value(dataset),
        moment=tuple(_moment(dataset, keyword) for keyword in _MOMENTS),
    )


def _optional(dataset: pydicom.Dataset, *keywords: str) -> float | None:
    return next((number(dataset, keyword, 0.0) for keyword in keywords if values(dataset, keyword)), None)


def _b_value(dataset: pydicom.Dataset) -> float | None:
    if values(dataset, "DiffusionBValue"):
        return number(dataset, "DiffusionBValue", 0.0)
    for group, element, owner in _PRIVATE_B_VALUES if text(dataset, "Modality") == "MR" else ():
        try:
            value = dataset.get_private_item(group, element, owner).value
            return float(value if isinstance(value, str | float | int) else value[0]) % _B_VALUE_OFFSET
        except (KeyError, ValueError, TypeError, IndexError):  # not there, or not what the maker says it is
            continue
    return None


def _moment(dataset: pydicom.Dataset, keyword: str) -> float:
    """Return a time as a number that only sorts; dates and times of DICOM are digits in the right order."""
    digits = "".join(letter for letter in text(dataset, keyword) if letter.isdigit() or letter == ".")
    try:
        return float(digits)
    except ValueError:
        return 0.0

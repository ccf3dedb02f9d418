"""Why something stays out of the dataset: every reason with its text and its fix, free of anything private."""

from enum import Enum

_NO_DECODER_FIX = "export it uncompressed (Explicit VR Little Endian)"
_GRID_FIX = "draw or export the segmentation on the slices of the series it references"

_RIGHTS_FIX = "give the user who runs this the right to read it"


class Reason(Enum):
    """Each value is (code, what is wrong, what to do)."""

    DAMAGED_FILE = ("damaged_file", "a DICOM file has no readable header", "copy or export the file again")
    CLOSED_FILE = ("closed_file", "a file may not be read", _RIGHTS_FIX)
    CLOSED_FOLDER = ("closed_folder", "a folder may not be listed", _RIGHTS_FIX)
    DAMAGED_SLICE = (
        "damaged_slice",
        "a file that cannot be read belongs to the series, or lies with it alone in a folder",
        "copy or export that file again; move it away if it is no slice",
    )
    TRUNCATED = ("truncated", "the pixel data of a slice are cut off or damaged", "export the series again")
    NO_IMAGE = ("no_image", "the series holds no image", "nothing to do; reports and plans are not used")
    RTSTRUCT = ("rtstruct", "the rules take no labels from RTSTRUCT", "nothing to do, or set 'labels.source: rtstruct'")
    WRONG_MODALITY = (
        "wrong_modality",
        "not of the site's modality",
        "nothing to do, or correct 'modality' in the rules",
    )
    NOT_SELECTED = (
        "not_selected",
        "the description is not selected",
        "nothing to do, or change 'include' or 'exclude'",
    )
    MULTI_FRAME = (
        "multi_frame",
        "a mosaic, or a multi-frame image whose frames have no position",
        "export enhanced or classic single-frame CT or MR",
    )
    SEVERAL_PARTS = (
        "several_parts",
        "the series holds several volumes: stacks, echoes, image types, b-values or times",
        "choose one under 'parts' in the rules; the private table lists them",
    )
    OTHER_PART = ("other_part", "a volume of the series that 'parts' does not choose", "nothing to do")
    COLOUR = ("colour", "a colour image", "nothing to do; export the series as greyscale if it is a real acquisition")
    BURNED_IN = ("burned_in", "the pixels are marked as carrying burned-in text", "export the series without text")
    LOCALISER = ("localiser", "localiser (scout) images", "nothing to do")
    NO_GEOMETRY = (
        "no_geometry",
        "position, orientation or pixel spacing is missing or not valid",
        "export the original series, not a secondary capture",
    )
    NOT_HU = (
        "not_hu",
        "the values are no Hounsfield units: another rescale type, or no rescale slope and intercept",
        "export the CT reconstruction with its rescale; maps of dual-energy CT are not used",
    )
    NONLINEAR = (
        "nonlinear_rescale",
        "the stored values have a lookup table or no valid rescale slope",
        "export with rescale slope and intercept",
    )
    MIXED_PATIENTS = (
        "mixed_patients",
        "slices of more than one patient under one series",
        "export each patient into a folder of its own, with patient id and series UID kept",
    )
    TOO_LARGE = (
        "too_large",
        "more voxels than any series has: rows x columns x slices above 2^30",
        "nothing to do; if it is a real series, export it in parts",
    )
    MIXED_SIZE = ("mixed_size", "slices differ in size or pixel spacing", "export each size as a series of its own")
    MIXED_ORIENTATION = (
        "mixed_orientation",
        "slices differ in orientation or frame of reference",
        "export each orientation as a series of its own",
    )
    NO_DECODER = ("no_decoder", "the compressed transfer syntax has no decoder here", _NO_DECODER_FIX)
    HIGH_BIT = (
        "high_bit",
        "the highest bit contradicts the number of bits stored, or the values",
        _NO_DECODER_FIX,
    )
    TOO_FEW_SLICES = ("too_few_slices", "fewer slices than 'minimum_slices'", "export all slices, or lower the minimum")
    DUPLICATE_SLICE = (
        "duplicate_slice",
        "two different slices lie at one position",
        "export each volume as a series of its own",
    )
    MISSING_SLICE = (
        "missing_slice",
        "a slice is missing: one gap is a multiple of the spacing",
        "send the series again and compare the number of slices",
    )
    SHEARED = ("sheared", "the stack is sheared (gantry tilt)", "export a reconstruction without tilt")
    NON_UNIFORM_SPACING = (
        "non_uniform_spacing",
        "the distance between slices varies",
        "export one reconstruction with one slice spacing",
    )
    NOT_READABLE = ("not_readable", "the series contradicts itself and cannot be read", "export the series again")
    NO_LABEL = ("no_label", "the image has no segmentation", "segment it, or leave it; it is not in the datalist")
    LABEL_WITHOUT_IMAGE = (
        "label_without_image",
        "the segmentation references no converted series, or no such series has the name of the label file",
        "put the series into the folder, mend what keeps it out, or correct the name of the file",
    )
    LABEL_NOT_READABLE = (
        "label_not_readable",
        "the segmentation is damaged or fractional, or a contour is not closed",
        "export it as binary DICOM SEG",
    )
    LABEL_NAMES = (
        "label_names",
        "an organ of the label map has no segment, or no voxel",
        "draw it, correct its name under 'labels.map', or list it under 'labels.may_be_absent'",
    )
    LABEL_TWICE = (
        "label_twice",
        "an organ is in two segmentations of one series, or the series has two label files",
        "keep one segmentation an organ, or one label file a series",
    )
    LABEL_AMBIGUOUS = (
        "label_ambiguous",
        "the label file is named like a folder that holds several converted series",
        "name it by the UID of the series, or exclude the others",
    )
    LABEL_FILE = (
        "label_file",
        "the label file is no readable NIfTI of whole numbers, or its header contradicts itself",
        "export it again as NIfTI with one id a voxel",
    )
    LABEL_OVERLAP = (
        "label_overlap",
        "segments of different organs overlap",
        "correct the voxels that two organs claim",
    )
    LABEL_GRID = ("label_grid", "the segmentation is not on the grid of its series", _GRID_FIX)

    @property
    def code(self) -> str:
        """Short name for tables and programs."""
        return self.value[0]

    @property
    def text(self) -> str:
        """What is wrong."""
        return self.value[1]

    @property
    def fix(self) -> str:
        """What to do about it."""
        return self.value[2]

import re
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fedgin.data.dicom.header import quiet_reading
from tests.data.dicom.enhanced import as_enhanced
from tests.data.dicom.series import SeriesSpec, make_slices, write_series, write_slices
from tests.data.dicom.test_dicom_segmentation import checked_stack, said_by_dciodvfy, save_objects
from tests.places import ROOT
from tests.real_data import real_dicom_series

JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
KOREAN = "Hong^Gildong=洪^吉洞=홍^길동"


def setting(**values: object) -> Callable[[int, pydicom.Dataset], None]:
    def change(_: int, dataset: pydicom.Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def objects_of(folder: Path, change: Callable[[int, pydicom.Dataset], None]) -> list[pydicom.Dataset]:
    """Return SEG and SR, as they are read again, of a series with a change in each header."""
    with disable_value_validation():
        write_series(folder / "dicom", SeriesSpec(change=change))
    with quiet_reading():
        files = save_objects(folder, checked_stack(folder / "dicom"))
    return [pydicom.dcmread(file) for file in files]


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 87"], JAPANESE),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], KOREAN),
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO 2022 IR 100", "Müller^Jörg"),
        ("ISO_IR 6", "Müller^Jörg"),
        ("", "Müller^Jörg"),
        ("ISO_IR 192", "Müller^Jörg=山田^太郎"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
def test_a_name_survives_in_every_character_set(tmp_path: Path, charset: str | list[str], name: str) -> None:
    coded = Dataset()
    coded.CodeValue, coded.CodingSchemeDesignator, coded.CodeMeaning = "1", "99LOCAL", name.split("=")[-1]
    written = "ISO_IR 100" if charset in ("ISO_IR 6", "") else charset
    change = setting(SpecificCharacterSet=written, PatientName=name, ProcedureCodeSequence=Sequence([coded]))

    def as_exported(number: int, dataset: pydicom.Dataset) -> None:
        """Old exports have 8-bit text and name no character set, or the one without such text."""
        change(number, dataset)
        if written != charset:
            dataset.PatientName = pydicom.valuerep.PersonName(name.encode("latin-1"))
            coded.CodeMeaning = "Abdomen"
            dataset.SpecificCharacterSet = charset

    for made in objects_of(tmp_path, as_exported):
        assert made.SpecificCharacterSet == "ISO_IR 192"
        assert str(made.PatientName) == name
        assert made.ProcedureCodeSequence[0].CodeMeaning == coded.CodeMeaning
    for file in ("seg.dcm", "sr.dcm"):
        assert [line for line in said_by_dciodvfy(tmp_path / file) if "99LOCAL" not in line] == []


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientBirthDate", "19500000"),
        ("PatientBirthDate", "XX"),
        ("StudyDate", "00000000"),
        ("StudyDate", "20201301"),
        ("StudyTime", "12:00:00"),
        ("StudyTime", "246060"),
        ("StudyTime", "120000.0000000"),
        ("PatientSex", "W"),
        ("PatientSex", "f"),
        ("PatientSex", ["F", "M"]),
    ],
)
def test_what_may_be_blank_and_cannot_be_read_is_blank(tmp_path: Path, keyword: str, value: str) -> None:
    for made in objects_of(tmp_path, setting(**{keyword: value})):
        assert not made[keyword].value
        assert made.PatientID == "PAT0042-SECRET"
    for file in ("seg.dcm", "sr.dcm"):
        said = [line for line in said_by_dciodvfy(tmp_path / file) if "needed to build DICOMDIR" not in line]
        assert said == []


def test_the_clinic_s_page_lists_each_warning_that_images_bring_and_no_other(tmp_path: Path) -> None:
    table = (ROOT / "docs" / "clinic.md").read_text().split("### What the validator warns of", 1)[1]
    listed = set(re.findall(r"^\| `(\w+)` \| (\w[^|,]*\w)", table, re.MULTILINE))
    folders = [tmp_path / name for name in ("StudyID", "StudyDate", "StudyTime", "real")]
    for folder in folders[:-1]:
        objects_of(folder, setting(**{folder.name: ""}))
    folders[-1].mkdir()
    real_dicom_series(folders[-1] / "dicom")
    save_objects(folders[-1], checked_stack(folders[-1] / "dicom"))
    for file in ("seg.dcm", "sr.dcm"):
        lines = [line for folder in folders for line in said_by_dciodvfy(folder / file)]
        said = [re.match(r"Warning - <.*/(\w+)\(\w+,\w+\)(?:\[\d+\])?> - ([^=]*\w)", line) for line in lines]
        assert {match.groups() if match else () for match in said} == listed


def with_comma(dataset: Dataset) -> None:
    dataset["SliceThickness"] = pydicom.DataElement("SliceThickness", "LO", "1,25", already_converted=True)


def as_thick_as(value: object) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, "SliceThickness", value)


THICKNESSES = {
    "absent": (lambda dataset: delattr(dataset, "SliceThickness"), 2.5),
    "blank": (as_thick_as(None), 2.5),
    "zero": (as_thick_as(0), 2.5),
    "with a comma": (with_comma, 2.5),
    "known": (as_thick_as("1.25"), 1.25),
}


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("kind", ["one file a slice", "enhanced", "enhanced, in each frame"])
@pytest.mark.parametrize(("change", "expected"), THICKNESSES.values(), ids=THICKNESSES)
def test_a_segmentation_whose_images_have_no_thickness_is_as_thick_as_its_voxels(
    tmp_path: Path, change: Callable[[Dataset], None], expected: float, kind: str, modality: str
) -> None:
    slices = make_slices(SeriesSpec(modality=modality))
    if kind == "one file a slice":
        for item in slices:
            change(item)
        write_slices(tmp_path / "dicom", slices)
    else:
        dataset = as_enhanced(slices)
        [shared] = dataset.SharedFunctionalGroupsSequence
        change(shared.PixelMeasuresSequence[0])
        if kind == "enhanced, in each frame":
            for frame in dataset.PerFrameFunctionalGroupsSequence:
                frame.PixelMeasuresSequence = shared.PixelMeasuresSequence
            del shared.PixelMeasuresSequence
        write_slices(tmp_path / "dicom", [dataset])
    with quiet_reading():
        files = save_objects(tmp_path, checked_stack(tmp_path / "dicom", modality))
    for file in files:
        assert said_by_dciodvfy(file) == []
    [measures] = pydicom.dcmread(files[0]).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (expected, 2.5)


def test_dates_and_times_that_can_be_read_stay(tmp_path: Path) -> None:
    values = {"PatientBirthDate": "19500102", "StudyDate": "20200304", "StudyTime": "101112.5", "PatientSex": "F"}
    for made in objects_of(tmp_path, setting(**values)):
        assert {keyword: str(made[keyword].value) for keyword in values} == values

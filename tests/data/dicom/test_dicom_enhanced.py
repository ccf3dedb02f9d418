from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless, generate_uid

from fedgin.data.dicom.private_table import private_table
from fedgin.data.dicom.reasons import Reason
from tests.data.dicom.enhanced import as_enhanced, group, write_enhanced
from tests.data.dicom.series import (
    CORONAL,
    SeriesSpec,
    make_rules,
    make_slices,
    reasons,
    run,
    the_image,
    world_error,
    write_seg,
)
from tests.data.dicom.test_dicom_labels import BOTH, label_error, rules


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(SeriesSpec(), id="CT"),
        pytest.param(SeriesSpec(dtype="int16", intercept=0.0), id="CT signed"),
        pytest.param(SeriesSpec(modality="MR"), id="MR"),
        pytest.param(SeriesSpec(step=-2.5, orientation=CORONAL), id="coronal, reversed"),
        pytest.param(SeriesSpec(syntax=ImplicitVRLittleEndian), id="implicit"),
        pytest.param(SeriesSpec(syntax=ExplicitVRBigEndian), id="big endian"),
    ],
)
def test_the_frames_of_an_enhanced_image_are_slices(tmp_path: Path, spec: SeriesSpec) -> None:
    slices = make_slices(spec)
    write_enhanced(tmp_path / "dicom" / "enhanced", [slices[number] for number in (3, 0, 5, 1, 4, 2)])
    report = run(tmp_path, make_rules(modality=spec.modality))
    assert (report.converted, reasons(report)) == (1, [])
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_a_converted_image_of_another_writer_is_read(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec())
    for dataset in slices:
        dataset.Laterality, dataset.Manufacturer, dataset.BodyPartExamined = "", "none", "ABDOMEN"
    image = LegacyConvertedEnhancedCTImage(slices, generate_uid(), 5, generate_uid(), 1)
    (tmp_path / "dicom").mkdir()
    image.save_as(tmp_path / "dicom" / "legacy")
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_compressed_frames_are_decoded(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec(shape=(16, 16)))
    image = as_enhanced(slices)
    image.compress(RLELossless)
    (tmp_path / "dicom").mkdir()
    image.save_as(tmp_path / "dicom" / "packed", enforce_file_format=True)
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_each_frame_has_its_own_slope(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec())
    for number, dataset in enumerate(slices):
        dataset.RescaleSlope = 1 + number / 4
    write_enhanced(tmp_path / "dicom" / "enhanced", slices)
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_several_enhanced_files_make_one_series_and_copies_of_them_are_dropped(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec())
    write_enhanced(tmp_path / "dicom" / "a" / "1", slices[:2])
    write_enhanced(tmp_path / "dicom" / "a" / "2", slices[2:])
    (tmp_path / "dicom" / "b").mkdir()
    (tmp_path / "dicom" / "b" / "2").write_bytes((tmp_path / "dicom" / "a" / "2").read_bytes())
    report = run(tmp_path)
    assert (report.converted, report.scan.copies) == (1, 4)
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_a_stack_is_chosen(tmp_path: Path) -> None:
    first, second = make_slices(SeriesSpec()), make_slices(SeriesSpec(orientation=CORONAL, seed=1))

    def name(number: int, frame: pydicom.Dataset) -> None:
        frame.FrameContentSequence = [group(StackID=str(number // 6 + 1))]

    write_enhanced(tmp_path / "dicom" / "enhanced", [*first, *second], name)
    report = run(tmp_path)
    assert (report.converted, reasons(report)) == (0, [Reason.SEVERAL_PARTS] * 2)
    assert "stack: 2" in private_table(tmp_path / "private", tmp_path / "out").read_text()
    report = run(tmp_path, make_rules(parts={"stack": 2}))
    assert (report.converted, reasons(report)) == (1, [Reason.OTHER_PART])
    assert world_error(the_image(tmp_path), second) < 1e-3


def test_labels_lie_on_an_enhanced_image(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec())
    write_enhanced(tmp_path / "dicom" / "enhanced", slices)
    write_seg(tmp_path / "dicom" / "seg", slices, BOTH)
    assert run(tmp_path, rules()).labelled == 1
    assert label_error(tmp_path, slices) < 1e-3
    (path,) = (tmp_path / "out" / "labels").iterdir()
    np.testing.assert_array_equal(nibabel.load(path).affine, the_image(tmp_path).affine)


def test_a_private_group_of_a_maker_places_no_frame(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec())

    def keep_a_copy(_: int, frame: pydicom.Dataset) -> None:
        copy = group(ImagePositionPatient=[0, 0, 0], PixelSpacing=[9, 9], RescaleSlope=2, StackID="7", Rows=1)
        block = frame.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
        block.add_new(0x0F, "SQ", pydicom.Sequence([copy]))

    write_enhanced(tmp_path / "dicom" / "enhanced", slices, keep_a_copy)
    report = run(tmp_path)
    assert (report.converted, reasons(report)) == (1, [])
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_an_enhanced_file_that_was_cut_off_keeps_its_series_out(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "dicom" / "enhanced", make_slices(SeriesSpec()))
    path = tmp_path / "dicom" / "enhanced"
    path.write_bytes(path.read_bytes()[:-30])
    assert reasons(run(tmp_path)) == [Reason.TRUNCATED]


@pytest.mark.parametrize("described", [4, 6])
def test_an_enhanced_file_that_describes_other_frames_than_it_has_is_left_out(tmp_path: Path, described: int) -> None:
    slices = make_slices(SeriesSpec(count=6))
    image = as_enhanced(slices)
    del image.PerFrameFunctionalGroupsSequence[described:]
    image.NumberOfFrames = 10 - described
    image.PixelData = b"".join(item.PixelData for item in slices)
    (tmp_path / "dicom").mkdir()
    image.save_as(tmp_path / "dicom" / "enhanced", enforce_file_format=True)
    assert (run(tmp_path).converted, reasons(run(tmp_path))) == (0, [Reason.DAMAGED_FILE])


def test_a_frame_without_position_keeps_its_series_out(tmp_path: Path) -> None:
    def lose(number: int, frame: pydicom.Dataset) -> None:
        if number == 4:
            del frame.PlanePositionSequence

    write_enhanced(tmp_path / "dicom" / "enhanced", make_slices(SeriesSpec()), lose)
    assert reasons(run(tmp_path)) == [Reason.NO_GEOMETRY]

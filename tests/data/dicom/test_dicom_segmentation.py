import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from fedgin.data.dicom.checks import check_series
from fedgin.data.dicom.scan import scan_tree
from fedgin.data.dicom.segmentation import Algorithm, make_report, make_segmentation
from fedgin.data.dicom.sources import MAY_BE_BLANK, read_sources
from fedgin.data.dicom.stack import Stack
from fedgin.errors import DataError
from tests.data.dicom.enhanced import as_enhanced
from tests.data.dicom.series import (
    AXIAL,
    SAGITTAL,
    SeriesSpec,
    make_rules,
    make_slices,
    run,
    write_series,
    write_slices,
)
from tests.real_data import real_dicom_series

ALGORITHM = Algorithm("abdomen-test", "0.1.0", "ab" * 32, ("Research only", "Warning: liver was not found"))
ORGANS = ["left_kidney", "right_kidney", "liver"]
VOLUMES_ML = {"left_kidney": 1.0, "right_kidney": 2.0}
OBLIQUE = (0.96, 0.28, 0.0, -0.28, 0.96, 0.0)
TILTED = (1.0, 0.0, 0.0, 0.0, 0.955336, 0.29552)
SERIES: dict[str, dict[str, object]] = {
    "axial": {},
    "reversed": {"step": -2.5},
    "oblique": {"orientation": OBLIQUE},
    "sagittal": {"orientation": SAGITTAL},
}


def read_stack(folder: Path, **spec: object) -> Stack:
    write_series(folder, SeriesSpec(**spec))  # type: ignore[arg-type]
    return checked_stack(folder)


def checked_stack(folder: Path, modality: str = "CT") -> Stack:
    stack = check_series(scan_tree(folder, lambda *_: None).series[0], make_rules(modality=modality))
    assert isinstance(stack, Stack)
    return stack


def marked_labels(stack: Stack) -> NDArray[np.uint8]:
    """Return a left and a right kidney of different size, each on its side of the body, and no liver."""
    labels = np.zeros(stack.target.spatial_shape, dtype=np.uint8)
    x, y, z = labels.shape
    # The first axis of stored volumes leads to the left.
    labels[2 * x // 3 :, : y // 2, 1:] = 1
    labels[: x // 3, y // 2 :, : z // 2] = 2
    return labels


def save_objects(folder: Path, stack: Stack, volumes_ml: Mapping[str, float] = VOLUMES_ML) -> list[Path]:
    """Write SEG and SR of the marked labels; return their files."""
    sources = read_sources(stack)
    segmentation = make_segmentation(sources, stack, marked_labels(stack), ORGANS, ALGORITHM)
    report = make_report(sources, segmentation, volumes_ml, ALGORITHM)
    for dataset, name in ((segmentation, "seg.dcm"), (report, "sr.dcm")):
        dataset.save_as(folder / name)
    return [folder / "seg.dcm", folder / "sr.dcm"]


def drawn_by_hand(
    dataset: pydicom.Dataset, affine: NDArray[np.float64], shape: tuple[int, ...], organs: Sequence[str] = ORGANS
) -> NDArray[np.uint8]:
    """Read a SEG with pydicom and numpy alone: every pixel by its own position in the patient (affine to LPS mm)."""
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    rows_mm, columns_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    drawn = np.zeros(shape, dtype=np.uint8)
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        organ = organs.index(dataset.SegmentSequence[number - 1].SegmentLabel) + 1
        row, column = np.nonzero(frame)
        start = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        points = start + np.outer(column * columns_mm, orientation[:3]) + np.outer(row * rows_mm, orientation[3:])
        indices = np.linalg.inv(affine) @ np.column_stack([points, np.ones(len(points))]).T
        drawn[tuple(np.rint(indices[:3]).astype(int))] = organ
    return drawn


def check_segmentation(stack: Stack, path: Path) -> None:
    """Write a segmentation and hold what another reader finds against the labels."""
    labels = marked_labels(stack)
    make_segmentation(read_sources(stack), stack, labels, ORGANS, ALGORITHM).save_as(path)
    read = drawn_by_hand(pydicom.dcmread(path), stack.target.affine, labels.shape)
    np.testing.assert_array_equal(read, labels)


def said_by_dciodvfy(path: Path) -> list[str]:
    """dicom3tools' validator knows the standard better than the library that wrote the file; errors and warnings."""
    done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    kinds = ("Segmentation", "Comprehensive3DSR")
    return [line for line in f"{done.stdout}{done.stderr}".splitlines() if line not in kinds]


@pytest.mark.parametrize("name", SERIES)
def test_another_reader_finds_every_voxel_and_the_validator_no_fault(tmp_path: Path, name: str) -> None:
    stack = read_stack(tmp_path / "dicom", **SERIES[name])
    labels = marked_labels(stack)
    files = save_objects(tmp_path, stack, {"left_kidney": 150.25, "right_kidney": 140.0, "liver": 0.0})
    for file in files:
        assert said_by_dciodvfy(file) == []
    read = pydicom.dcmread(files[0])
    np.testing.assert_array_equal(drawn_by_hand(read, stack.target.affine, labels.shape), labels)
    assert [segment.SegmentLabel for segment in read.SegmentSequence] == ["left_kidney", "right_kidney"]


def test_of_a_real_series_the_validator_warns_of_what_the_images_bring_alone(tmp_path: Path) -> None:
    """Their study has no StudyID, and a code of the procedure is the hospital's own; docs/clinic.md lists both."""
    real_dicom_series(tmp_path / "dicom")
    for file in save_objects(tmp_path, checked_stack(tmp_path / "dicom")):
        said = sorted(said_by_dciodvfy(file))
        assert len(said) == 2, said
        assert said[0].startswith("Warning - </ProcedureCodeSequence(0008,1032)[1]/CodingSchemeDesignator")
        assert said[1].startswith("Warning - </StudyID(0020,0010)> - Missing attribute")


def test_sides_are_those_of_the_patient(tmp_path: Path) -> None:
    """DICOM's x grows to the patient's left: the left kidney's voxels have the larger x, and its code says Left."""
    stack = read_stack(tmp_path)
    read = make_segmentation(read_sources(stack), stack, marked_labels(stack), ORGANS, ALGORITHM)
    drawn = drawn_by_hand(read, stack.target.affine, stack.target.spatial_shape)
    x = {
        organ: np.argwhere(drawn == number) @ stack.target.affine[0, :3]
        for number, organ in ((1, "left"), (2, "right"))
    }
    assert x["left"].min() > x["right"].max()
    sides = [
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning
        for segment in read.SegmentSequence
    ]
    assert sides == ["Left", "Right"]


def test_a_second_run_writes_the_same_objects_and_another_model_others(tmp_path: Path) -> None:
    stack = read_stack(tmp_path)
    other = Algorithm(ALGORITHM.name, ALGORITHM.version, "cd" * 32, ALGORITHM.notes)
    first, again, third = (
        make_segmentation(read_sources(stack), stack, marked_labels(stack), ORGANS, algorithm)
        for algorithm in (ALGORITHM, ALGORITHM, other)
    )
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert first[keyword].value == again[keyword].value != third[keyword].value


def test_findings_of_two_patients_are_two_and_the_device_is_one(tmp_path: Path) -> None:
    findings: list[str] = []
    devices = set()
    for name in ("first", "second"):
        stack = read_stack(tmp_path / name, uid=f"1.2.{len(findings)}")
        sources = read_sources(stack)
        segmentation = make_segmentation(sources, stack, marked_labels(stack), ORGANS, ALGORITHM)
        report = make_report(sources, segmentation, VOLUMES_ML, ALGORITHM)
        findings += [segment.TrackingUID for segment in segmentation.SegmentSequence]
        devices |= {
            item.UID
            for item in report.ContentSequence
            if item.ConceptNameCodeSequence[0].CodeMeaning == "Device Observer UID"
        }
    assert len(set(findings)) == len(findings) == 4
    assert len(devices) == 1


def test_the_objects_stand_in_the_study_and_refer_to_its_images(tmp_path: Path) -> None:
    stack = read_stack(tmp_path)
    sources = read_sources(stack)
    segmentation = make_segmentation(sources, stack, marked_labels(stack), ORGANS, ALGORITHM)
    report = make_report(sources, segmentation, {"left_kidney": 150.25, "right_kidney": 140.0}, ALGORITHM)
    for made in (segmentation, report):
        assert made.StudyInstanceUID == sources[0].StudyInstanceUID
        assert made.PatientID == sources[0].PatientID
    assert segmentation.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    [referenced] = segmentation.ReferencedSeriesSequence
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} <= {
        source.SOPInstanceUID for source in sources
    }
    assert "150.25" in str(report)
    assert "milliliter" in str(report)
    said = [item.TextValue for item in report.ContentSequence[-1].ContentSequence]
    assert said == ["Research only", "Warning: liver was not found"]
    assert {segment.SegmentDescription for segment in segmentation.SegmentSequence} == {"; ".join(said)}


def test_images_without_a_study_identifier_are_named(tmp_path: Path) -> None:
    def blank(_: int, dataset: pydicom.Dataset) -> None:
        dataset.StudyInstanceUID = ""

    with pytest.raises(DataError, match="no StudyInstanceUID, so no DICOM SEG can refer to them"):
        read_sources(read_stack(tmp_path, change=blank))


def in_every_frame(slices: list[pydicom.Dataset]) -> pydicom.Dataset:
    """Return an enhanced object of which nothing is shared."""
    dataset = as_enhanced(slices)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.PixelMeasuresSequence = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    del dataset.SharedFunctionalGroupsSequence
    return dataset


@pytest.mark.parametrize("make", [as_enhanced, in_every_frame])
def test_an_enhanced_image_that_places_each_frame_by_itself_gets_a_segmentation(
    tmp_path: Path, make: Callable[[list[pydicom.Dataset]], pydicom.Dataset]
) -> None:
    write_slices(tmp_path / "dicom", [make(make_slices(SeriesSpec()))])
    check_segmentation(checked_stack(tmp_path / "dicom"), tmp_path / "seg.dcm")


def test_an_orientation_rounded_otherwise_in_each_image_is_one(tmp_path: Path) -> None:
    def round_otherwise(number: int, dataset: pydicom.Dataset) -> None:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, f"{number * 1e-6:.7f}"]

    check_segmentation(read_stack(tmp_path / "dicom", change=round_otherwise), tmp_path / "seg.dcm")


def test_what_may_be_blank_may_be_absent(tmp_path: Path) -> None:
    def strip(_: int, dataset: pydicom.Dataset) -> None:
        for keyword in MAY_BE_BLANK:
            delattr(dataset, keyword)

    check_segmentation(read_stack(tmp_path / "dicom", change=strip), tmp_path / "seg.dcm")


def rounded(step: float, decimals: int) -> Callable[[int, pydicom.Dataset], None]:
    def change(number: int, dataset: pydicom.Dataset) -> None:
        place = np.array(dataset.ImagePositionPatient, dtype=float)
        normal = np.cross(*np.array(dataset.ImageOrientationPatient, dtype=float).reshape(2, 3))
        place += (step - 2.5) * number * normal
        dataset.ImagePositionPatient = [f"{value:.{decimals}f}" for value in place]
        dataset.SpacingBetweenSlices = 0.1  # some scanners mean the gap

    return change


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE, TILTED], ids=["axial", "oblique", "tilted"])
@pytest.mark.parametrize(("step", "decimals"), [(0.625, 2), (1 / 3, 2), (1.25, 6)])
def test_each_frame_lies_on_its_image_and_refers_to_it_though_positions_are_rounded(
    tmp_path: Path, step: float, decimals: int, orientation: Sequence[float], enhanced: bool
) -> None:
    slices = make_slices(SeriesSpec(count=12, orientation=orientation, change=rounded(step, decimals)))
    write_slices(tmp_path / "dicom", [as_enhanced(slices)] if enhanced else slices)
    stack = checked_stack(tmp_path / "dicom")
    labels = marked_labels(stack)
    made = make_segmentation(read_sources(stack), stack, labels, ORGANS, ALGORITHM)
    made.save_as(tmp_path / "seg.dcm")
    assert said_by_dciodvfy(tmp_path / "seg.dcm") == []
    np.testing.assert_array_equal(drawn_by_hand(made, stack.target.affine, labels.shape), labels)
    places = {(item.instance, item.frame): item.position for item in stack.slices}
    for frame in made.PerFrameFunctionalGroupsSequence:
        [source] = frame.DerivationImageSequence[0].SourceImageSequence
        number = source.ReferencedFrameNumber - 1 if enhanced else None
        assert (
            tuple(frame.PlanePositionSequence[0].ImagePositionPatient)
            == places[source.ReferencedSOPInstanceUID, number]
        )
    [measures] = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert measures.SpacingBetweenSlices == pytest.approx(stack.geometry.spacing[0])


def test_highdicom_and_ingest_read_a_segmentation_of_rounded_positions(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom", SeriesSpec(count=12, change=rounded(0.625, 2)))
    stack = checked_stack(tmp_path / "dicom")
    labels = marked_labels(stack)
    make_segmentation(read_sources(stack), stack, labels, ORGANS, ALGORITHM).save_as(tmp_path / "dicom" / "seg.dcm")
    read = highdicom.seg.segread(tmp_path / "dicom" / "seg.dcm")
    instances = [item.instance for item in stack.slices]
    found = read.get_pixels_by_source_instance(instances, combine_segments=True, ignore_spatial_locations=True)
    np.testing.assert_array_equal(found, stack.planes(labels))
    rules = make_rules(
        labels={"source": "dicom_seg", "map": {"left_kidney": "left_kidney", "right_kidney": "right_kidney"}}
    )
    assert run(tmp_path, rules).labelled == 1
    [path] = (tmp_path / "out" / "labels").iterdir()
    np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj), labels)

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from highdicom.seg import SegmentationTypeValues
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset

from fedgin.data.datalist import Split, list_cases
from fedgin.data.dicom.private_table import private_table
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.rules import IngestRules
from fedgin.data.site import load_site
from fedgin.data.volumes import read_label
from tests.data.dicom.enhanced import as_enhanced
from tests.data.dicom.series import (
    AXIAL,
    CORONAL,
    SeriesSpec,
    make_rules,
    make_slices,
    reasons,
    run,
    the_image,
    world_error,
    write_seg,
    write_series,
    write_slices,
)

SHAPE = (6, 7, 5)
MAP = {"Liver": "liver", "Left Kidney": "left_kidney"}


def rules(**labels: object) -> IngestRules:
    return make_rules(labels={"map": MAP, **labels})


def block(*ranges: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask [slices, rows, columns] that is true in a box."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[tuple(slice(*bounds) for bounds in ranges)] = True
    return mask


LIVER, KIDNEY = block((1, 4), (1, 3), (0, 2)), block((2, 5), (4, 6), (2, 4))
SPLEEN = block((0, 1), (3, 6), (0, 4))
BOTH = {"Liver": LIVER, "Left Kidney": KIDNEY}


def labelled(folder: Path, spec: SeriesSpec | None = None) -> list[pydicom.Dataset]:
    """Write a series with a segmentation of both organs."""
    slices = write_series(folder / "dicom", spec or SeriesSpec())
    write_seg(folder / "dicom" / "seg", slices, BOTH)
    return slices


def label_error(
    folder: Path, slices: list[pydicom.Dataset], drawn: tuple[NDArray[np.bool_], ...] = (LIVER, KIDNEY)
) -> float:
    """Hold the label volume against the masks of ids 1, 2, ... at the places of the slices' pixels."""
    expected = sum(mask * np.uint16(number) for number, mask in enumerate(drawn, start=1))
    assert isinstance(expected, np.ndarray)
    for dataset, plane in zip(slices, expected, strict=True):
        dataset.PixelData, dataset.RescaleIntercept, dataset.RescaleSlope = plane.tobytes(), 0, 1
        dataset.BitsAllocated, dataset.PixelRepresentation = 16, 0
    (path,) = (folder / "out" / "labels").iterdir()
    return world_error(nibabel.load(path), slices)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(SeriesSpec(), id="axial"),
        pytest.param(SeriesSpec(step=-2.5), id="reversed"),
        pytest.param(SeriesSpec(orientation=CORONAL), id="coronal"),
        pytest.param(SeriesSpec(orientation=(0.8, 0.6, 0, 0, 0, -1)), id="oblique"),
    ],
)
def test_labels_lie_on_the_image(tmp_path: Path, spec: SeriesSpec) -> None:
    slices = labelled(tmp_path, spec)
    report = run(tmp_path, rules())
    assert (report.labelled, reasons(report)) == (1, [])
    (path,) = (tmp_path / "out" / "labels").iterdir()
    label, image = nibabel.load(path), the_image(tmp_path)
    assert label.shape == image.shape
    np.testing.assert_array_equal(label.affine, image.affine)
    assert label.get_data_dtype() == np.uint8
    assert label_error(tmp_path, slices) < 1e-3


def test_the_dataset_is_what_the_site_contract_reads(tmp_path: Path) -> None:
    for patient in range(5):
        labelled_case = SeriesSpec(patient=f"P{patient}", seed=patient)
        slices = write_series(tmp_path / "dicom" / str(patient), labelled_case)
        write_seg(tmp_path / "dicom" / str(patient) / "seg", slices, BOTH)
    report = run(tmp_path, rules())
    contract = load_site(tmp_path / "out" / "site.yaml")
    cases = list_cases(contract)
    assert [len(cases[split]) for split in Split] == [3, 1, 1]
    assert report.splits == {split: len(cases[split]) for split in Split}
    assert contract.labels == {"liver": 1, "left_kidney": 2}
    assert set(np.unique(read_label(cases[Split.TEST][0]).voxels)) == {0, 1, 2}


def test_names_compare_without_case_and_two_segments_make_one_organ(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    write_seg(tmp_path / "dicom" / "seg", slices, {" LIVER": LIVER, "left kidney": KIDNEY, "spleen": LIVER})
    wanted = make_rules(labels={"map": {"Liver": "organ", "Left Kidney": "organ"}})
    assert run(tmp_path, wanted).labelled == 1
    (path,) = (tmp_path / "out" / "labels").iterdir()
    assert int(np.asarray(nibabel.load(path).dataobj).sum()) == LIVER.sum() + KIDNEY.sum()


@pytest.mark.parametrize("kind", [SegmentationTypeValues.BINARY, SegmentationTypeValues.LABELMAP])
def test_a_segment_that_was_never_drawn_is_no_organ(tmp_path: Path, kind: SegmentationTypeValues) -> None:
    slices = write_series(tmp_path / "dicom")
    write_seg(tmp_path / "dicom" / "seg", slices, {"Liver": LIVER, "Left Kidney": KIDNEY & False}, kind)
    assert reasons(run(tmp_path, rules())) == [Reason.LABEL_NAMES]
    assert run(tmp_path, rules(may_be_absent=["left_kidney"])).labelled == 1


def test_each_organ_of_a_label_map_has_its_own_voxels(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    write_seg(tmp_path / "dicom" / "seg", slices, {**BOTH, "Spleen": SPLEEN}, SegmentationTypeValues.LABELMAP)
    report = run(tmp_path, rules())
    assert (report.labelled, reasons(report)) == (1, [])
    assert label_error(tmp_path, slices) < 1e-3


@pytest.mark.parametrize(("step", "decimals"), [(0.625, 2), (1 / 3, 3), (1.25, 2), (0.7, 6)])
@pytest.mark.parametrize("drawn", [(0, 6), (1, 3), (4, 5)])
def test_a_segmentation_made_from_rounded_positions_lies_on_them(
    tmp_path: Path, step: float, decimals: int, drawn: tuple[int, int]
) -> None:
    def rounded(_: int, dataset: pydicom.Dataset) -> None:
        dataset.ImagePositionPatient = [f"{float(value):.{decimals}f}" for value in dataset.ImagePositionPatient]

    slices = write_series(tmp_path / "dicom", SeriesSpec(step=step, change=rounded))
    mask = block(drawn, (2, 4), (1, 3))
    write_seg(tmp_path / "dicom" / "seg", slices, {"Liver": mask})
    assert reasons(run(tmp_path, rules(may_be_absent=["left_kidney"]))) == []
    (path,) = (tmp_path / "out" / "labels").iterdir()
    # Stored axes are (column, reversed row, slice).
    np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj) > 0, mask.transpose(2, 1, 0)[:, ::-1])


def test_a_segmentation_of_thicker_slices_is_not_spread_over_thin_ones(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    write_seg(tmp_path / "dicom" / "seg", slices[::2], {"Liver": LIVER[::2], "Left Kidney": KIDNEY[::2]})
    assert reasons(run(tmp_path, rules())) == [Reason.LABEL_GRID]


def state_no_distance(path: Path) -> None:
    """Let a segmentation not say how far apart its slices are, as the standard allows."""
    drawn = pydicom.dcmread(path)
    del drawn.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    drawn.save_as(path)


def test_so_it_is_where_the_segmentation_does_not_say_how_thick_its_slices_are(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom", SeriesSpec(count=6))
    liver = np.zeros((3, *SHAPE[1:]), dtype=bool)
    liver[:, 1:3, 0:2] = True
    write_seg(tmp_path / "dicom" / "seg", slices[::2], {"Liver": liver})
    state_no_distance(tmp_path / "dicom" / "seg")
    assert reasons(run(tmp_path, rules(may_be_absent=["left_kidney"]))) == [Reason.LABEL_GRID]


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize(
    "specks",
    [
        pytest.param([(2, 1, 2), (2, 5, 2)], id="two specks on one slice"),
        pytest.param([(1, 2, 2), (4, 2, 2)], id="two lesions of one slice each"),
        pytest.param([(0, 2, 2), (2, 2, 2), (5, 2, 2)], id="three lesions of one slice each"),
    ],
)
def test_small_parts_far_apart_are_no_stripes(tmp_path: Path, specks: list[tuple[int, int, int]], stated: bool) -> None:
    """The segmentation says that its slices are as far apart as those of the image, or that they are these."""
    slices = write_series(tmp_path / "dicom")
    liver = np.zeros(SHAPE, dtype=bool)
    liver[tuple(np.transpose(specks))] = True
    write_seg(tmp_path / "dicom" / "seg", slices, {"Liver": liver})
    if not stated:
        state_no_distance(tmp_path / "dicom" / "seg")
    assert reasons(run(tmp_path, rules(may_be_absent=["left_kidney"]))) == []
    (path,) = (tmp_path / "out" / "labels").iterdir()
    assert int(np.asarray(nibabel.load(path).dataobj).sum()) == len(specks)


def test_a_segmentation_that_names_no_image_is_taken_where_its_frames_lie(tmp_path: Path) -> None:
    slices = labelled(tmp_path)
    drawn = pydicom.dcmread(tmp_path / "dicom" / "seg")
    drawn.ReferencedSeriesSequence[0].ReferencedInstanceSequence = []
    drawn.save_as(tmp_path / "dicom" / "seg")
    state_no_distance(tmp_path / "dicom" / "seg")
    assert run(tmp_path, rules()).labelled == 1
    assert label_error(tmp_path, slices) < 1e-3


def test_of_thick_slices_that_no_distance_and_the_images_of_both_series_tell_nothing_is_taken(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    thick = make_slices(SeriesSpec(count=3, step=5.0, frame=slices[0].FrameOfReferenceUID))
    liver = np.zeros((3, *SHAPE[1:]), dtype=bool)
    liver[:2, 1:3, 0:2] = True
    drawn = write_seg(tmp_path / "dicom" / "seg", thick, {"Liver": liver})
    other = write_seg(tmp_path / "other", slices, BOTH)
    drawn.ReferencedSeriesSequence = [*drawn.ReferencedSeriesSequence, *other.ReferencedSeriesSequence]
    drawn.save_as(tmp_path / "dicom" / "seg")
    state_no_distance(tmp_path / "dicom" / "seg")
    assert reasons(run(tmp_path, rules(may_be_absent=["left_kidney"]))) == [Reason.LABEL_GRID]


def thick_on_all(folder: Path, on: list[int], *, thickness: float, image_thickness: float, in_frames: bool) -> None:
    """Write a series, and a SEG of frames at some of its slices that names all of these and states no distance."""

    def overlap(_: int, dataset: pydicom.Dataset) -> None:
        dataset.SliceThickness = image_thickness

    slices = write_series(folder / "dicom", SeriesSpec(change=overlap))
    liver = np.zeros((len(on), *SHAPE[1:]), dtype=bool)
    liver[:, 1:3, 0:2] = True
    drawn = write_seg(folder / "dicom" / "seg", [slices[number] for number in on], {"Liver": liver})
    whole = write_seg(folder / "whole", slices, {"Liver": np.ones(SHAPE, dtype=bool)})
    drawn.ReferencedSeriesSequence = whole.ReferencedSeriesSequence
    measures = drawn.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SliceThickness, measures.SpacingBetweenSlices = thickness, 5.0
    if in_frames:
        frames = whole.PerFrameFunctionalGroupsSequence
        every = [frame.DerivationImageSequence[0].SourceImageSequence[0] for frame in frames]
        for frame in drawn.PerFrameFunctionalGroupsSequence:
            frame.DerivationImageSequence[0].SourceImageSequence = deepcopy(every)
    drawn.save_as(folder / "dicom" / "seg")
    state_no_distance(folder / "dicom" / "seg")


@pytest.mark.parametrize(
    ("on", "thickness", "image_thickness", "in_frames"),
    [
        pytest.param([1, 4], 7.5, 2.5, False, id="two frames"),
        pytest.param([3], 7.5, 2.5, True, id="one frame"),
        pytest.param([1, 3], 6.0, 4.0, False, id="slices overlap"),
        pytest.param([1, 3], 5.0, 5.0, True, id="as thick as overlapping slices and each of several"),
    ],
)
def test_a_segmentation_of_thicker_slices_that_names_all_thin_ones_is_left_out(
    tmp_path: Path, on: list[int], thickness: float, image_thickness: float, in_frames: bool
) -> None:
    """Each frame lies on one slice, and was drawn on its neighbours, too."""
    thick_on_all(tmp_path, on, thickness=thickness, image_thickness=image_thickness, in_frames=in_frames)
    assert reasons(run(tmp_path, rules(may_be_absent=["left_kidney"]))) == [Reason.LABEL_GRID]


@pytest.mark.parametrize("thickness", [2.5, 5.0])
def test_a_segmentation_of_overlapping_slices_may_be_as_thick_as_these(tmp_path: Path, thickness: float) -> None:
    thick_on_all(tmp_path, [1, 4], thickness=thickness, image_thickness=thickness, in_frames=False)
    assert reasons(run(tmp_path, rules(may_be_absent=["left_kidney"]))) == []


def two_lesions(folder: Path, *, stacks: int) -> tuple[list[pydicom.Dataset], NDArray[np.bool_]]:
    """Write an enhanced image, and a SEG of its first stack that states no distance; return slices and lesions."""
    slices = make_slices(SeriesSpec())
    drawn = as_enhanced(slices)
    thin = make_slices(SeriesSpec(count=11, step=1.25, frame=slices[0].FrameOfReferenceUID)) if stacks > 1 else []
    names = ["thick"] * len(slices) + ["thin"] * len(thin)
    whole = as_enhanced([*slices, *thin], lambda number, frame: name_stack(frame, names[number]))
    whole.SOPInstanceUID = whole.file_meta.MediaStorageSOPInstanceUID = drawn.SOPInstanceUID
    write_slices(folder / "dicom", [whole])
    lesions = np.zeros(SHAPE, dtype=bool)
    lesions[1, 2, 2] = lesions[4, 2, 2] = True
    # highdicom looks for the orientation among what all frames share.
    placed = drawn.PerFrameFunctionalGroupsSequence[0].PlaneOrientationSequence
    drawn.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence = placed
    write_seg(folder / "dicom" / "seg", [drawn], {"Liver": lesions})
    state_no_distance(folder / "dicom" / "seg")
    return slices, lesions


def name_stack(frame: pydicom.Dataset, name: str) -> None:
    frame.FrameContentSequence[0].StackID = name


def test_two_lesions_of_one_slice_each_are_read_from_a_segmentation_of_an_enhanced_image(tmp_path: Path) -> None:
    """It states no distance, and names the image, all of whose frames are the slices."""
    slices, lesions = two_lesions(tmp_path, stacks=1)
    assert reasons(run(tmp_path, rules(may_be_absent=["left_kidney"]))) == []
    assert label_error(tmp_path, slices, (lesions,)) < 1e-3


def test_of_an_enhanced_image_of_two_stacks_the_name_tells_nothing(tmp_path: Path) -> None:
    """The segmentation is of the thick stack, and the thin one is taken."""
    two_lesions(tmp_path, stacks=2)
    taken = make_rules(labels={"map": MAP, "may_be_absent": ["left_kidney"]}, parts={"stack": "thin"})
    assert Reason.LABEL_GRID in reasons(run(tmp_path, taken))


@pytest.mark.parametrize(
    "orientation", [pytest.param(AXIAL, id="on the slices"), pytest.param(CORONAL, id="across the slices")]
)
def test_an_organ_drawn_on_every_other_plane_is_left_out(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    """As by hand, to be interpolated later: the segmentation states the distance of the image's slices."""
    cube = SeriesSpec(count=9, shape=(9, 9), spacing=(1.0, 1.0), step=1.0, origin=(0.0, 0.0, 0.0))
    write_series(tmp_path / "dicom", cube)
    origin = (0.0, 0.0, 0.0) if orientation == AXIAL else (0.0, 0.0, 8.0)
    drawn = make_slices(replace(cube, orientation=orientation, origin=origin))
    liver = np.zeros((9, 9, 9), dtype=bool)
    liver[::2, 3:6, 3:6] = True
    write_seg(tmp_path / "dicom" / "seg", drawn, {"Liver": liver})
    assert reasons(run(tmp_path, rules(may_be_absent=["left_kidney"]))) == [Reason.LABEL_GRID]


@pytest.mark.parametrize("size", [31, 36, 38])
def test_a_segmentation_of_larger_pixels_that_meets_the_image_at_its_corners_is_left_out(
    tmp_path: Path, size: int
) -> None:
    """As a network leaves it that works on fewer pixels, and whose result was enlarged with aligned corners."""
    slices = write_series(tmp_path / "dicom", SeriesSpec(shape=(41, 41), spacing=(1.0, 1.0)))
    drawn = [dataset.copy() for dataset in slices]
    for dataset in drawn:
        dataset.Rows = dataset.Columns = size
        dataset.PixelSpacing = [40.0 / (size - 1)] * 2
    liver = np.zeros((len(slices), size, size), dtype=bool)
    liver[1:4, 5:20, 5:20] = True
    write_seg(tmp_path / "dicom" / "seg", drawn, {"Liver": liver})
    assert reasons(run(tmp_path, rules(may_be_absent=["left_kidney"]))) == [Reason.LABEL_GRID]


def test_a_segmentation_without_preamble_is_read(tmp_path: Path) -> None:
    slices = labelled(tmp_path)
    path = tmp_path / "dicom" / "seg"
    dataset = pydicom.dcmread(path)
    dataset.file_meta = FileMetaDataset()
    pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert run(tmp_path, rules()).labelled == 1
    assert label_error(tmp_path, slices) < 1e-3
    assert "Liver; Left Kidney" in private_table(tmp_path / "private", tmp_path / "out").read_text()


def references(path: Path, *uids: str) -> None:
    """Let a segmentation refer to these series, in this order."""
    dataset = pydicom.dcmread(path)
    items = [deepcopy(dataset.ReferencedSeriesSequence[0]) for _ in uids]
    for item, uid in zip(items, uids, strict=True):
        item.SeriesInstanceUID = uid
    dataset.ReferencedSeriesSequence = items
    dataset.save_as(path)


def test_a_segmentation_that_refers_to_several_series_labels_those_it_lies_on(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom" / "a")
    spec = SeriesSpec(frame=slices[0].FrameOfReferenceUID, study=slices[0].StudyInstanceUID, origin=(0, 0, 0), seed=1)
    other = write_series(tmp_path / "dicom" / "b", spec)
    write_seg(tmp_path / "dicom" / "seg", slices, BOTH)
    references(tmp_path / "dicom" / "seg", "1.2.3.404", other[0].SeriesInstanceUID, slices[0].SeriesInstanceUID)
    report = run(tmp_path, rules())
    assert (report.converted, report.labelled, reasons(report)) == (2, 1, [Reason.NO_LABEL])
    assert label_error(tmp_path, slices) < 1e-3


def test_one_file_an_organ_is_put_together(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    write_seg(tmp_path / "dicom" / "seg1", slices, {"Liver": LIVER})
    write_seg(tmp_path / "dicom" / "seg2", slices, {"Left Kidney": KIDNEY})
    assert run(tmp_path, rules()).labelled == 1
    assert label_error(tmp_path, slices) < 1e-3


def test_an_organ_on_one_slice_only_is_placed(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    mask = block((3, 4), (2, 4), (1, 3))
    write_seg(tmp_path / "dicom" / "seg", slices, {"Liver": mask})
    assert run(tmp_path, rules(may_be_absent=["left_kidney"])).labelled == 1
    (path,) = (tmp_path / "out" / "labels").iterdir()
    voxels = np.asarray(nibabel.load(path).dataobj)
    # Stored axes are (column, reversed row, slice).
    np.testing.assert_array_equal(voxels > 0, mask.transpose(2, 1, 0)[:, ::-1])


def test_missing_organ_keeps_the_case_out_unless_it_may_be_absent(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    write_seg(tmp_path / "dicom" / "seg", slices, {"Liver": LIVER})
    report = run(tmp_path, rules())
    assert (report.converted, report.labelled, reasons(report)) == (1, 0, [Reason.LABEL_NAMES])
    assert run(tmp_path, rules(may_be_absent=["left_kidney"])).labelled == 1


def wrong_grid(folder: Path, slices: list[pydicom.Dataset], fault: str) -> None:
    """Write a segmentation that references the series but was drawn on another grid."""
    drawn = [dataset.copy() for dataset in slices]
    for dataset in drawn:
        position = [float(value) for value in dataset.ImagePositionPatient]
        if fault == "shifted half a pixel":
            dataset.ImagePositionPatient = [position[0] + 0.35, *position[1:]]
        elif fault == "other pixel spacing":
            dataset.PixelSpacing = [1.0, 0.7]
        elif fault == "finer by two":
            dataset.PixelSpacing = [0.45, 0.35]
        elif fault == "half outside":
            dataset.ImagePositionPatient = [position[0] - 0.7, *position[1:]]
        elif fault == "other frame of reference":
            dataset.FrameOfReferenceUID = "1.2.3.4"
        elif fault == "slices between slices":
            dataset.ImagePositionPatient = [*position[:2], position[2] + 1.25]
        elif fault == "turned":
            dataset.ImageOrientationPatient = [0.0, 1.0, 0.0, -1.0, 0.0, 0.0]
    write_seg(folder / "dicom" / "seg", drawn, BOTH)


@pytest.mark.parametrize(
    "fault",
    [
        "shifted half a pixel",
        "other pixel spacing",
        "finer by two",
        "half outside",
        "other frame of reference",
        "slices between slices",
        "turned",
    ],
)
def test_a_segmentation_on_another_grid_is_left_out(tmp_path: Path, fault: str) -> None:
    slices = write_series(tmp_path / "dicom", SeriesSpec(spacing=(0.7, 0.7) if fault == "turned" else (0.9, 0.7)))
    wrong_grid(tmp_path, slices, fault)
    report = run(tmp_path, rules())
    assert (report.converted, report.labelled, reasons(report)) == (1, 0, [Reason.LABEL_GRID])


def test_overlapping_organs_are_reported(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    write_seg(tmp_path / "dicom" / "seg", slices, {"Liver": LIVER, "Left Kidney": LIVER})
    assert reasons(run(tmp_path, rules())) == [Reason.LABEL_OVERLAP]


def test_two_readings_of_one_organ_are_reported(tmp_path: Path) -> None:
    slices = labelled(tmp_path)
    write_seg(tmp_path / "dicom" / "second", slices, {"Liver": LIVER})
    assert reasons(run(tmp_path, rules())) == [Reason.LABEL_TWICE]


def test_a_fractional_segmentation_is_reported(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    write_seg(tmp_path / "dicom" / "seg", slices, BOTH, SegmentationTypeValues.FRACTIONAL)
    assert reasons(run(tmp_path, rules())) == [Reason.LABEL_NOT_READABLE]


def test_a_truncated_segmentation_is_reported(tmp_path: Path) -> None:
    labelled(tmp_path)
    path = tmp_path / "dicom" / "seg"
    path.write_bytes(path.read_bytes()[:-20])
    assert reasons(run(tmp_path, rules())) == [Reason.LABEL_NOT_READABLE]


def test_a_segmentation_with_a_frame_that_nothing_places_is_reported(tmp_path: Path) -> None:
    labelled(tmp_path)
    segmentation = pydicom.dcmread(tmp_path / "dicom" / "seg")
    del segmentation.PerFrameFunctionalGroupsSequence[-1]
    segmentation.save_as(tmp_path / "dicom" / "seg")
    assert reasons(run(tmp_path, rules())) == [Reason.LABEL_NOT_READABLE]


def test_a_segmentation_of_an_absent_series_is_reported(tmp_path: Path) -> None:
    write_seg(tmp_path / "dicom" / "seg", make_slices(SeriesSpec()), BOTH)
    write_series(tmp_path / "dicom", SeriesSpec(seed=1))
    assert set(reasons(run(tmp_path, rules()))) == {Reason.LABEL_WITHOUT_IMAGE, Reason.NO_LABEL}


def test_an_image_without_label_is_converted_and_listed(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom")
    report = run(tmp_path, rules())
    assert (report.converted, reasons(report)) == (1, [Reason.NO_LABEL])
    assert json.loads((tmp_path / "out" / "datalist.json").read_text())["training"] == []


def test_without_label_rules_segmentations_are_not_selected(tmp_path: Path) -> None:
    labelled(tmp_path)
    report = run(tmp_path)
    assert (report.converted, reasons(report)) == (1, [Reason.NOT_SELECTED])
    assert not (tmp_path / "out" / "datalist.json").exists()


def test_a_patient_who_is_left_out_once_comes_back_to_the_same_split(tmp_path: Path) -> None:
    for patient in range(5):
        slices = write_series(tmp_path / "dicom" / str(patient), SeriesSpec(patient=f"P{patient}", seed=patient))
        write_seg(tmp_path / "dicom" / str(patient) / "seg", slices, BOTH)
    run(tmp_path, rules())
    datalist = (tmp_path / "out" / "datalist.json").read_text()
    for number in range(5):
        path = tmp_path / "dicom" / str(number) / "seg"
        path.rename(tmp_path / "away")
        run(tmp_path, rules())
        (tmp_path / "away").rename(path)
        run(tmp_path, rules())
        assert (tmp_path / "out" / "datalist.json").read_text() == datalist

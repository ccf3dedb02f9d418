import itertools
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from highdicom.volume import VolumeGeometry
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from fedgin.data.dicom.private_table import private_table
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.rtstruct import fill
from fedgin.data.dicom.rules import IngestRules
from tests.data.dicom.enhanced import group
from tests.data.dicom.series import CORONAL, SeriesSpec, make_rules, make_slices, reasons, run, write_seg, write_series
from tests.data.dicom.test_dicom_labels import BOTH, MAP, label_error

# Corners (row, column) around pixel centres of a slice, by organ and slice: the same boxes as LIVER and KIDNEY.
BOX = {
    "Liver": {number: [[(0.5, -0.5), (0.5, 1.5), (2.5, 1.5), (2.5, -0.5)]] for number in (1, 2, 3)},
    "Left Kidney": {number: [[(3.5, 1.5), (3.5, 3.5), (5.5, 3.5), (5.5, 1.5)]] for number in (2, 3, 4)},
}
Contours = dict[str, dict[int, list[list[tuple[float, float]]]]]


def rules(**labels: object) -> IngestRules:
    return make_rules(labels={"source": "rtstruct", "map": MAP, **labels})


def in_space(dataset: pydicom.Dataset, corners: Sequence[tuple[float, float]], lift: float) -> list[float]:
    """Return corners (row, column) of a slice as LPS+ mm, moved along the normal."""
    along_row, along_column = np.array(dataset.ImageOrientationPatient, dtype=float).reshape(2, 3)
    between_rows, between_columns = (float(value) for value in dataset.PixelSpacing)
    steps = np.stack([along_column * between_rows, along_row * between_columns])
    points = np.array(dataset.ImagePositionPatient, dtype=float) + np.array(corners) @ steps
    points += lift * np.cross(along_row, along_column)
    return [round(float(value), 3) for value in points.ravel()]


def write_structures(
    path: Path, slices: Sequence[pydicom.Dataset], contours: Contours, lift: float = 0.0, kind: str = "CLOSED_PLANAR"
) -> None:
    """Write an RTSTRUCT that refers to the slices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    make_structures(slices, contours, lift, kind).save_as(path, enforce_file_format=True)


def make_structures(
    slices: Sequence[pydicom.Dataset], contours: Contours, lift: float = 0.0, kind: str = "CLOSED_PLANAR"
) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PatientID, dataset.Modality = slices[0].PatientID, "RTSTRUCT"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = slices[0].StudyInstanceUID, generate_uid()
    study = group(RTReferencedSeriesSequence=[group(SeriesInstanceUID=slices[0].SeriesInstanceUID)])
    frame = group(FrameOfReferenceUID=slices[0].FrameOfReferenceUID, RTReferencedStudySequence=[study])
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    dataset.StructureSetROISequence = [group(ROINumber=n, ROIName=name) for n, name in enumerate(contours, start=1)]
    dataset.ROIContourSequence = [
        group(
            ReferencedROINumber=n,
            ContourSequence=[
                group(
                    ContourGeometricType=kind,
                    NumberOfContourPoints=len(corners),
                    ContourData=in_space(slices[index], corners, lift),
                )
                for index, polygons in organ.items()
                for corners in polygons
            ],
        )
        for n, organ in enumerate(contours.values(), start=1)
    ]
    return dataset


def labels(folder: Path) -> NDArray[np.uint8]:
    """Return the only label volume with axes (slice, row, column) of an axial series."""
    (path,) = (folder / "out" / "labels").iterdir()
    return np.asarray(nibabel.load(path).dataobj)[:, ::-1].transpose(2, 1, 0)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(SeriesSpec(), id="axial"),
        pytest.param(SeriesSpec(step=-2.5), id="reversed"),
        pytest.param(SeriesSpec(orientation=CORONAL), id="coronal"),
        pytest.param(SeriesSpec(orientation=(0.8, 0.6, 0, 0, 0, -1)), id="oblique"),
    ],
)
def test_contours_are_filled_where_they_lie(tmp_path: Path, spec: SeriesSpec) -> None:
    slices = write_series(tmp_path / "dicom", spec)
    write_structures(tmp_path / "dicom" / "rs", slices, BOX)
    report = run(tmp_path, rules())
    assert (report.labelled, reasons(report)) == (1, [])
    assert label_error(tmp_path, slices) < 1e-3
    assert "Liver; Left Kidney" in private_table(tmp_path / "private", tmp_path / "out").read_text()


def circle(radius: float, row: float = 20.3, column: float = 19.6) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    return [(row + radius * float(np.sin(a)), column + radius * float(np.cos(a))) for a in angles]


def test_an_organ_is_neither_larger_nor_smaller_than_its_contour_and_an_inner_contour_is_a_hole(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom", SeriesSpec(shape=(40, 40), spacing=(1.0, 1.0)))
    again = circle(15.0)[70:] + circle(15.0)[:70]
    rings = [circle(15.0), circle(6.0), circle(15.0), again, again[::-1], again[30:] + again[:30]]
    write_structures(tmp_path / "dicom" / "rs", slices, {"Liver": dict.fromkeys((1, 2), rings)})
    assert run(tmp_path, rules(may_be_absent=["left_kidney"])).labelled == 1
    drawn = labels(tmp_path)
    assert int(drawn[1].sum()) == pytest.approx(np.pi * (15.0**2 - 6.0**2), rel=0.02)
    assert drawn[1, 20, 20] == 0


def box(top: float, left: float, bottom: float, right: float) -> list[tuple[float, float]]:
    return [(top, left), (top, right), (bottom, right), (bottom, left)]


def boxes(*limits: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    mask = np.zeros((20, 20), dtype=np.bool_)
    for top, left, bottom, right in limits:
        mask[top : bottom + 1, left : right + 1] = True
    return mask


OUTER, HOLE, ISLAND = (2, 2, 16, 16), (5, 5, 13, 13), (8, 8, 10, 10)


@pytest.mark.parametrize(
    ("contours", "expected"),
    [
        pytest.param([(2, 2, 8, 8), (5, 5, 12, 12)], boxes((2, 2, 8, 8), (5, 5, 12, 12)), id="overlap"),
        pytest.param([(2, 2, 8, 5), (2, 5, 8, 9)], boxes((2, 2, 8, 9)), id="one row of voxels in common"),
        pytest.param([OUTER, HOLE], boxes(OUTER) & ~boxes(HOLE), id="hole"),
        pytest.param([OUTER, HOLE, ISLAND], boxes(OUTER) & ~boxes(HOLE) | boxes(ISLAND), id="island"),
        pytest.param(
            [OUTER, (4, 4, 8, 8), (6, 6, 12, 12)],
            boxes(OUTER) & ~boxes((4, 4, 8, 8)) & ~boxes((6, 6, 12, 12)),
            id="holes that overlap",
        ),
        pytest.param(
            [(2, 2, 16, 9), (2, 8, 16, 16), (5, 7, 8, 11)],
            boxes((2, 2, 16, 16)) & ~boxes((5, 7, 8, 11)),
            id="hole in two that overlap",
        ),
        pytest.param(
            [(2, 2, 16, 11), (2, 6, 16, 16), (5, 7, 8, 10)],
            boxes((2, 2, 16, 16)),
            id="drawn over what two have in common",
        ),
        pytest.param(
            [(2, 2, 16, 13), (2, 4, 16, 16), (4, 5, 14, 12), (7, 7, 9, 9)],
            boxes((2, 2, 16, 16)) & ~boxes((7, 7, 9, 9)),
            id="hole in one drawn over what two have in common",
        ),
        pytest.param(
            [OUTER, (4, 4, 12, 11), (6, 6, 14, 14), (7, 7, 10, 10)],
            boxes(OUTER) & ~boxes((4, 4, 12, 11)) & ~boxes((6, 6, 14, 14)),
            id="no island where two holes overlap",
        ),
        pytest.param([OUTER, (5, 5, 17, 10)], boxes(OUTER) & ~boxes((5, 5, 17, 10)), id="hole through the wall"),
        pytest.param([OUTER, (3, 3, 15, 15)], boxes(OUTER) & ~boxes((3, 3, 15, 15)), id="wall of one voxel"),
    ],
)
def test_contours_that_touch_are_united_and_one_inside_is_a_hole_in_whatever_order(
    tmp_path: Path, contours: list[tuple[int, int, int, int]], expected: NDArray[np.bool_]
) -> None:
    slices = make_slices(SeriesSpec(shape=(20, 20), spacing=(1.0, 1.0)))
    for order in itertools.permutations(contours):
        # A little beyond the centres of the outermost voxels.
        rings = [box(top - 0.1, left - 0.1, bottom + 0.1, right + 0.1) for top, left, bottom, right in order]
        write_structures(tmp_path / "rs", slices, {"Liver": {0: rings}})
        np.testing.assert_array_equal(filled(tmp_path / "rs", slices), expected)


# Radius, row and column.
Circle = tuple[float, float, float]


@st.composite
def nests(draw: st.DrawFn) -> list[Circle]:
    """Draw circles of which any two lie within each other or apart, by two voxels and more."""
    found: list[Circle] = []
    around: list[Circle] = [(29.0, 31.5, 31.5)]
    while around:
        radius, row, column = around.pop()
        parts = draw(st.sampled_from([0, 1, 2])) if found else 2
        first = draw(st.floats(0, np.pi))
        for part in range(parts):
            inner = radius - 2.5 if parts == 1 else radius / 2 - 1.5
            turn = 0.0 if parts == 1 else radius / 2
            angle = first + np.pi * part
            if inner > 4:
                around.append((inner, row + turn * float(np.sin(angle)), column + turn * float(np.cos(angle))))
                found.append(around[-1])
    return draw(st.permutations(found))


def covered(circles: Sequence[Circle]) -> NDArray[np.int_]:
    """Return in how many circles each voxel's centre lies."""
    rows, columns = np.mgrid[:64, :64]
    return np.sum([np.hypot(rows - row, columns - column) < radius for radius, row, column in circles], axis=0)


def outlines(circles: Sequence[Circle], *kinds: str) -> list[NDArray[np.bool_]]:
    """Return the mask that contours make, for each kind that they can be of."""
    slices = make_slices(SeriesSpec(shape=(64, 64), spacing=(1.0, 1.0)))
    # Made once: pydicom takes far longer to check a contour's numbers than it takes to fill it.
    structures = make_structures(slices, {"Liver": {0: [circle(*each) for each in circles]}})
    masks = []
    for kind in kinds:
        for contour in structures.ROIContourSequence[0].ContourSequence:
            contour.ContourGeometricType = kind
        masks.append(filled(structures, slices))
    return masks


@given(nests())
def test_nested_contours_are_organ_where_an_odd_number_of_them_lies_as_xor_says(circles: list[Circle]) -> None:
    plain, exclusive = outlines(circles, "CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
    np.testing.assert_array_equal(plain, exclusive)
    assert (plain != covered(circles) % 2).mean() < 0.01  # a polygon of 200 corners is a little smaller than its circle


@given(
    distance=st.floats(10, 16),
    share=st.floats(0.3, 0.9),
    order=st.permutations(range(3)),
)
def test_one_drawn_over_what_two_have_in_common_is_no_hole(distance: float, share: float, order: list[int]) -> None:
    """What reads contours by XOR and what unites them agree: it is organ."""
    two: list[Circle] = [(15.0, 31.5, 31.5 - distance / 2), (15.0, 31.5, 31.5 + distance / 2)]
    circles = [*two, (share * (15.0 - distance / 2), 31.5, 31.5)]
    [found] = outlines([circles[index] for index in order], "CLOSED_PLANAR")
    assert (found != (covered(two) > 0)).mean() < 0.01
    assert found[covered(circles) == 3].all()


def test_a_contour_that_comes_twice_with_rounding_is_no_hole(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec(shape=(40, 40), spacing=(1.0, 1.0)))
    write_structures(tmp_path / "rs", slices, {"Liver": {0: [circle(15.0)]}})
    once = filled(tmp_path / "rs", slices)
    write_structures(tmp_path / "rs", slices, {"Liver": {0: [circle(15.0), circle(14.95)]}})
    np.testing.assert_array_equal(filled(tmp_path / "rs", slices), once)
    write_structures(tmp_path / "rs", slices, {"Liver": {0: [circle(14.95)]}})
    assert not np.array_equal(filled(tmp_path / "rs", slices), once), "they differ in some voxels"


def test_contours_that_exclude_each_other_do_so_where_they_overlap(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec(shape=(20, 20), spacing=(1.0, 1.0)))
    first, second = (2, 2, 8, 8), (5, 5, 12, 12)
    rings = [box(top - 0.1, left - 0.1, bottom + 0.1, right + 0.1) for top, left, bottom, right in (first, second)]
    write_structures(tmp_path / "rs", slices, {"Liver": {0: rings}}, kind="CLOSEDPLANAR_XOR")
    np.testing.assert_array_equal(filled(tmp_path / "rs", slices), boxes(first) ^ boxes(second))


def filled(structures: Path | pydicom.Dataset, slices: Sequence[pydicom.Dataset]) -> NDArray[np.bool_]:
    """Return the only mask of the first structure."""
    dataset = structures if isinstance(structures, pydicom.Dataset) else pydicom.dcmread(structures)
    first = slices[0]
    grid = VolumeGeometry.from_attributes(
        image_position=first.ImagePositionPatient,
        image_orientation=first.ImageOrientationPatient,
        rows=first.Rows,
        columns=first.Columns,
        pixel_spacing=first.PixelSpacing,
        spacing_between_slices=2.5,
        number_of_frames=len(slices),
        coordinate_system="PATIENT",
    )
    [mask] = fill(dataset, 1, grid).values()
    return mask


def moved(organ: dict[int, list[list[tuple[float, float]]]], rows: float) -> dict[int, list[list[tuple[float, float]]]]:
    return {index: [[(row + rows, column) for row, column in ring] for ring in rings] for index, rings in organ.items()}


OUTSIDE = {name: moved(organ, -2.0) for name, organ in BOX.items()}
EVERY_OTHER = {name: {0: organ[2], 2: organ[2], 4: organ[2]} for name, organ in BOX.items()}
ALMOST_EVERY_OTHER = {name: {0: organ[2], 2: organ[2], 4: organ[2], 5: organ[2]} for name, organ in BOX.items()}


@pytest.mark.parametrize(
    ("contours", "lift", "kind", "reason"),
    [
        pytest.param(BOX, 1.25, "CLOSED_PLANAR", Reason.LABEL_GRID, id="between slices"),
        pytest.param(OUTSIDE, 0.0, "CLOSED_PLANAR", Reason.LABEL_GRID, id="outside"),
        pytest.param(EVERY_OTHER, 0.0, "CLOSED_PLANAR", Reason.LABEL_GRID, id="every other slice"),
        pytest.param(ALMOST_EVERY_OTHER, 0.0, "CLOSED_PLANAR", Reason.LABEL_GRID, id="most other slices"),
        pytest.param(BOX, 0.0, "OPEN_PLANAR", Reason.LABEL_NOT_READABLE, id="open"),
        pytest.param({**BOX, "Left Kidney": {}}, 0.0, "CLOSED_PLANAR", Reason.LABEL_NAMES, id="not drawn"),
        pytest.param({**BOX, "Left Kidney": BOX["Liver"]}, 0.0, "CLOSED_PLANAR", Reason.LABEL_OVERLAP, id="overlap"),
    ],
)
def test_contours_that_make_no_label_are_left_out(
    tmp_path: Path, contours: Contours, lift: float, kind: str, reason: Reason
) -> None:
    slices = write_series(tmp_path / "dicom")
    write_structures(tmp_path / "dicom" / "rs", slices, contours, lift, kind)
    report = run(tmp_path, rules())
    assert (report.converted, report.labelled, reasons(report)) == (1, 0, [reason])


def test_an_organ_may_have_parts_with_slices_between_them(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    write_structures(tmp_path / "dicom" / "rs", slices, {"Liver": dict.fromkeys((0, 1, 4, 5), BOX["Liver"][2])})
    assert run(tmp_path, rules(may_be_absent=["left_kidney"])).labelled == 1
    assert [bool(plane.any()) for plane in labels(tmp_path)] == [True, True, False, False, True, True]


def test_a_point_is_no_organ(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    path = tmp_path / "dicom" / "rs"
    write_structures(path, slices, BOX)
    dataset = pydicom.dcmread(path)
    for contour in dataset.ROIContourSequence[1].ContourSequence:
        contour.ContourGeometricType, contour.NumberOfContourPoints = "POINT", 1
        contour.ContourData = contour.ContourData[:3]
    dataset.save_as(path)
    assert reasons(run(tmp_path, rules())) == [Reason.LABEL_NAMES]
    assert run(tmp_path, rules(may_be_absent=["left_kidney"])).labelled == 1


def test_a_structure_set_in_two_places_is_refused(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    for name in ("first", "second"):
        write_structures(tmp_path / "dicom" / name, slices, BOX)
    assert reasons(run(tmp_path, rules())) == [Reason.LABEL_TWICE]


def test_the_rules_say_which_kind_of_label_counts(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    write_structures(tmp_path / "dicom" / "rs", slices, BOX)
    write_seg(tmp_path / "dicom" / "seg", slices, BOTH)
    assert reasons(run(tmp_path, rules())) == [Reason.NOT_SELECTED]
    assert reasons(run(tmp_path, make_rules(labels={"map": MAP}))) == [Reason.RTSTRUCT]

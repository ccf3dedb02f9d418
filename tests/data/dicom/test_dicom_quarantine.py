import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import (
    EncapsulatedPDFStorage,
    EnhancedMRImageStorage,
    HTJ2KLossless,
    JPEGLosslessSV1,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
)

from fedgin.data.dicom.facts import Facts, SliceHeader
from fedgin.data.dicom.pixel_data import PixelPlace
from fedgin.data.dicom.quarantine import public_modality
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.stack import Stack, stack_slices
from tests.data.dicom.series import (
    AXIAL,
    CORONAL,
    Change,
    SeriesSpec,
    make_rules,
    make_slices,
    reasons,
    run,
    the_image,
    world_error,
    write_pixels,
    write_series,
    write_slices,
)


def setting(keyword: str, value: object, only: int | None = None) -> Change:
    """Return a change that sets one element in every slice, or in slice ``only``."""

    def change(number: int, dataset: pydicom.Dataset) -> None:
        if only in (None, number):
            setattr(dataset, keyword, value)

    return change


def removing(keyword: str, only: int | None = None) -> Change:
    def change(number: int, dataset: pydicom.Dataset) -> None:
        if only in (None, number):
            delattr(dataset, keyword)

    return change


def moving(offset: Callable[[int], tuple[float, float, float]]) -> Change:
    """Return a change that shifts slice ``n`` by ``offset(n)`` mm."""

    def change(number: int, dataset: pydicom.Dataset) -> None:
        moved = np.array(dataset.ImagePositionPatient, dtype=float) + offset(number)
        dataset.ImagePositionPatient = [float(value) for value in moved]

    return change


def rgb(_: int, dataset: pydicom.Dataset) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    write_pixels(dataset, np.zeros((7, 5, 3), dtype=np.uint8))


def enhanced(_: int, dataset: pydicom.Dataset) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    dataset.NumberOfFrames = 3
    dataset.PixelData = dataset.PixelData * 3
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient


def claim(syntax: pydicom.uid.UID) -> Change:
    """Return a change that makes native pixels look compressed."""

    def change(_: int, dataset: pydicom.Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = pydicom.encaps.encapsulate([dataset.PixelData])
        dataset["PixelData"].is_undefined_length = True

    return change


def lookup(_: int, dataset: pydicom.Dataset) -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [4, 0, 16], "US", [1, 2, 4, 8]
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    dataset.ModalityLUTSequence = [table]


def unrescaled(_: int, dataset: pydicom.Dataset) -> None:
    del dataset.RescaleSlope, dataset.RescaleIntercept


def resized(number: int, dataset: pydicom.Dataset) -> None:
    if number == 3:
        write_pixels(dataset, np.zeros((9, 5), dtype=np.uint16))


def as_document(_: int, dataset: pydicom.Dataset) -> None:
    dataset.SOPClassUID, dataset.Modality = EncapsulatedPDFStorage, "DOC"
    for keyword in ("Rows", "Columns", "BitsAllocated", "PixelData"):
        delattr(dataset, keyword)


def as_structures(_: int, dataset: pydicom.Dataset) -> None:
    as_document(_, dataset)
    dataset.SOPClassUID, dataset.Modality = RTStructureSetStorage, "RTSTRUCT"


def secondary(_: int, dataset: pydicom.Dataset) -> None:
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)


CASES: dict[str, tuple[SeriesSpec, Reason]] = {
    "duplicate position": (SeriesSpec(change=moving(lambda n: (0, 0, -2.5 * (n == 3)))), Reason.DUPLICATE_SLICE),
    "two phases in one series": (SeriesSpec(change=moving(lambda n: (0, 0, -7.5 * (n > 2)))), Reason.DUPLICATE_SLICE),
    "missing slice": (SeriesSpec(change=moving(lambda n: (0, 0, 2.5 * (n > 2)))), Reason.MISSING_SLICE),
    "non-uniform spacing": (SeriesSpec(change=moving(lambda n: (0, 0, 0.9 * (n > 2)))), Reason.NON_UNIFORM_SPACING),
    "growing spacing": (SeriesSpec(change=moving(lambda n: (0, 0, 0.4 * n * n))), Reason.NON_UNIFORM_SPACING),
    "jitter": (SeriesSpec(step=20.0, change=moving(lambda n: (0, 0, 0.09 * (n % 2)))), Reason.NON_UNIFORM_SPACING),
    "gantry tilt": (SeriesSpec(change=moving(lambda n: (0, 0.6 * n, 0))), Reason.SHEARED),
    "slight gantry tilt": (SeriesSpec(change=moving(lambda n: (0, 0.02 * n, 0))), Reason.SHEARED),
    "localiser": (SeriesSpec(change=setting("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"])), Reason.LOCALISER),
    "rgb": (SeriesSpec(change=rgb), Reason.COLOUR),
    "palette": (SeriesSpec(change=setting("PhotometricInterpretation", "PALETTE COLOR")), Reason.COLOUR),
    "enhanced multi-frame": (SeriesSpec(change=enhanced), Reason.MULTI_FRAME),
    "frames": (SeriesSpec(change=setting("NumberOfFrames", 4)), Reason.MULTI_FRAME),
    "mosaic": (SeriesSpec(change=setting("ImageType", ["ORIGINAL", "PRIMARY", "M", "MOSAIC"])), Reason.MULTI_FRAME),
    "no JPEG in it": (SeriesSpec(change=claim(JPEGLosslessSV1)), Reason.TRUNCATED),
    "HTJ2K": (SeriesSpec(change=claim(HTJ2KLossless)), Reason.NO_DECODER),
    "video": (SeriesSpec(change=claim(pydicom.uid.MPEG2MPML)), Reason.NO_DECODER),
    "mixed size": (SeriesSpec(change=resized), Reason.MIXED_SIZE),
    "mixed pixel spacing": (SeriesSpec(change=setting("PixelSpacing", [0.9, 0.8], 2)), Reason.MIXED_SIZE),
    "mixed orientation": (
        SeriesSpec(change=setting("ImageOrientationPatient", list(CORONAL), 2)),
        Reason.MIXED_ORIENTATION,
    ),
    "mixed frame": (SeriesSpec(change=setting("FrameOfReferenceUID", "1.2.9", 2)), Reason.MIXED_ORIENTATION),
    "mixed patients": (SeriesSpec(change=setting("PatientID", "someone else", 2)), Reason.MIXED_PATIENTS),
    "too few slices": (SeriesSpec(count=2), Reason.TOO_FEW_SLICES),
    "wrong modality": (SeriesSpec(modality="MR"), Reason.WRONG_MODALITY),
    "not selected": (SeriesSpec(description="Lung 1.0 hard"), Reason.NOT_SELECTED),
    "burned in": (SeriesSpec(change=setting("BurnedInAnnotation", "YES")), Reason.BURNED_IN),
    "other rescale type": (SeriesSpec(change=setting("RescaleType", "MGML")), Reason.NOT_HU),
    "unspecified rescale type": (SeriesSpec(change=setting("RescaleType", "US")), Reason.NOT_HU),
    "no rescale": (SeriesSpec(change=unrescaled), Reason.NOT_HU),
    "no rescale in one slice": (SeriesSpec(change=removing("RescaleIntercept", 3)), Reason.NOT_HU),
    "lookup table": (SeriesSpec(change=lookup), Reason.NONLINEAR),
    "slope zero": (SeriesSpec(slope=0.0), Reason.NONLINEAR),
    "no position": (SeriesSpec(change=removing("ImagePositionPatient", 2)), Reason.NO_GEOMETRY),
    "no orientation": (SeriesSpec(change=removing("ImageOrientationPatient")), Reason.NO_GEOMETRY),
    "directions not perpendicular": (SeriesSpec(orientation=(1, 0, 0, 0.1, 1, 0)), Reason.NO_GEOMETRY),
    "spacing zero": (SeriesSpec(spacing=(0.0, 0.7)), Reason.NO_GEOMETRY),
    "secondary capture": (SeriesSpec(change=secondary), Reason.NO_GEOMETRY),
    "no pixel data": (SeriesSpec(change=removing("PixelData", 4)), Reason.TRUNCATED),
    "document": (SeriesSpec(change=as_document), Reason.NO_IMAGE),
    "structure set": (SeriesSpec(change=as_structures), Reason.RTSTRUCT),
}


@pytest.mark.parametrize(("spec", "reason"), CASES.values(), ids=CASES)
def test_a_series_is_left_out_for_the_right_reason(tmp_path: Path, spec: SeriesSpec, reason: Reason) -> None:
    write_series(tmp_path / "dicom", spec)
    report = run(tmp_path, make_rules(exclude="(?i)lung"))
    assert reasons(report) == [reason]
    assert not (tmp_path / "out" / "images").exists()


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_file_keeps_its_series_out(tmp_path: Path, kept: float, packed: bool) -> None:
    slices = make_slices(SeriesSpec(shape=(32, 32)))
    for dataset in slices if packed else []:
        dataset.compress(pydicom.uid.JPEGLSLossless)
    path = write_slices(tmp_path / "dicom", slices)[2]
    whole = path.read_bytes()
    header = whole.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(whole[: header + int((len(whole) - header) * kept)])
    assert reasons(run(tmp_path)) == [Reason.TRUNCATED]


def test_a_header_cut_before_the_image_keeps_its_series_out(tmp_path: Path) -> None:
    path = write_slices(tmp_path / "dicom", make_slices(SeriesSpec()))[2]
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\x28\x00\x02\x00")])
    assert reasons(run(tmp_path)) == [Reason.TRUNCATED]


def test_exact_copies_are_dropped_and_counted(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec())
    paths = write_slices(tmp_path / "dicom" / "a", slices)
    shutil.copytree(tmp_path / "dicom" / "a", tmp_path / "dicom" / "b")
    (tmp_path / "dicom" / "copy").write_bytes(paths[2].read_bytes())
    slices[4].file_meta.ImplementationVersionName = "OTHER"
    write_slices(tmp_path / "dicom" / "exported again", slices[4:5])
    report = run(tmp_path)
    assert (report.scan.copies, report.converted, reasons(report)) == (8, 1, [])
    assert world_error(the_image(tmp_path), slices) < 1e-3


@pytest.mark.parametrize("change", [setting("RescaleIntercept", -1000, 2), resized])
def test_a_slice_under_the_same_name_with_other_content_is_no_copy(tmp_path: Path, change: Change) -> None:
    slices = write_series(tmp_path / "dicom" / "a")
    for number in (2, 3):
        change(number, slices[number])
    write_slices(tmp_path / "dicom" / "b", slices[2:4])
    report = run(tmp_path)
    assert (report.scan.copies, report.converted, len(reasons(report))) == (1, 0, 1)


@pytest.mark.parametrize("kind", ["LOCALIZER", "SCOUT"])
def test_scout_images_are_left_out_alone(tmp_path: Path, kind: str) -> None:
    slices = write_series(tmp_path / "dicom")
    write_series(
        tmp_path / "dicom" / "scout",
        SeriesSpec(count=2, shape=(9, 3), orientation=CORONAL, uid=slices[0].SeriesInstanceUID,
                   change=setting("ImageType", ["ORIGINAL", "PRIMARY", kind])),
    )  # fmt: skip
    report = run(tmp_path)
    assert (report.converted, [(item.reason, item.files) for item in report.left_out]) == (1, [(Reason.LOCALISER, 2)])
    assert world_error(the_image(tmp_path), slices) < 1e-3


@pytest.mark.parametrize("step", [0.3, 1.0, 2.5, 5.0, 20.0])
@pytest.mark.parametrize(("shift", "accepted"), [(0.04, True), (0.2, False)])
def test_one_slice_may_be_moved_within_the_stated_tolerance(
    tmp_path: Path, step: float, shift: float, accepted: bool
) -> None:
    write_series(tmp_path / "dicom", SeriesSpec(step=step, count=9, change=moving(lambda n: (0, 0, shift * (n == 4)))))
    report = run(tmp_path)
    assert (report.converted, reasons(report)) == ((1, []) if accepted else (0, [Reason.NON_UNIFORM_SPACING]))


@given(jitter=st.lists(st.floats(-0.03, 0.03), min_size=12, max_size=12), step=st.floats(0.2, 10.0))
def test_slices_near_a_regular_grid_are_a_stack(jitter: list[float], step: float) -> None:
    slices = [header((1.0, 2.0, step * number + move)) for number, move in enumerate(jitter)]
    stack = stack_slices(slices)
    assert isinstance(stack, Stack)
    assert stack.geometry.spacing[0] == pytest.approx(step, abs=0.06 / 11 * 2)


def header(position: tuple[float, float, float]) -> SliceHeader:
    """Return a slice of which only the geometry counts."""
    facts = Mock(Facts, orientation=AXIAL, size=(7, 5), spacing=(0.9, 0.7), frame="")
    return SliceHeader(Path("slice"), facts, "", position, PixelPlace(), (0, 0))


def test_a_value_shorter_than_the_image_is_not_filled_from_what_follows(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec())
    slices[5].PixelData = slices[5].PixelData[:-20]
    slices[5].DataSetTrailingPadding = b"x" * 40
    write_slices(tmp_path / "dicom", slices)
    assert reasons(run(tmp_path)) == [Reason.TRUNCATED]


@pytest.mark.parametrize("until", [0, 140, 300, "0020000d", "0020000e", "00200032", "00280010"])
def test_a_slice_that_broke_at_the_end_of_a_series_does_not_make_it_shorter(tmp_path: Path, until: int | str) -> None:
    path = write_slices(tmp_path / "dicom" / "a", make_slices(SeriesSpec()))[-1]
    write_series(tmp_path / "dicom" / "b", SeriesSpec(seed=1))
    whole = path.read_bytes()
    if isinstance(until, str):
        group, element = bytes.fromhex(until)[:2], bytes.fromhex(until)[2:]
        until = whole.index(group[::-1] + element[::-1])
    path.write_bytes(whole[:until])
    report = run(tmp_path)
    assert report.converted == 1
    assert {Reason.DAMAGED_SLICE, Reason.TRUNCATED} & set(reasons(report))


def test_a_damaged_slice_is_known_by_its_series_uid_in_a_full_folder(tmp_path: Path) -> None:
    path = write_slices(tmp_path / "dicom", make_slices(SeriesSpec()), "A{:04d}")[-1]
    write_series(tmp_path / "dicom", SeriesSpec(seed=1), "B{:04d}")
    whole = path.read_bytes()
    at = whole.index(b"\x20\x00\x37\x00") + 4
    path.write_bytes(whole[:at] + b"\xff" * (len(whole) - at))
    report = run(tmp_path)
    assert report.converted == 1
    assert set(reasons(report)) <= {Reason.DAMAGED_FILE, Reason.DAMAGED_SLICE, Reason.TRUNCATED}


def test_one_bad_series_never_stops_the_rest(tmp_path: Path) -> None:
    for number, (spec, _) in enumerate(CASES.values()):
        write_series(tmp_path / "dicom" / f"{number:02d}", spec)
    write_series(tmp_path / "dicom" / "last", SeriesSpec(seed=5))
    report = run(tmp_path, make_rules(exclude="(?i)lung"))
    assert (report.converted, len(report.left_out)) == (1, len(CASES))


def test_the_list_has_number_reason_and_fix(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom" / "a", SeriesSpec(count=2))
    write_series(tmp_path / "dicom" / "b", SeriesSpec(modality="MR"))
    run(tmp_path)
    rows = json.loads((tmp_path / "out" / "quarantine.json").read_text())
    assert [row["number"] for row in rows] == [1, 2]
    assert {row["reason"] for row in rows} == {"too_few_slices", "wrong_modality"}
    assert all(row["problem"] and row["fix"] for row in rows)
    table = list(csv.DictReader((tmp_path / "out" / "quarantine.csv").read_text().splitlines()))
    assert [{key: str(value) for key, value in row.items()} for row in rows] == table


def test_reason_codes_are_unique_and_every_reason_has_a_fix() -> None:
    assert len({reason.code for reason in Reason}) == len(Reason)
    assert all(reason.text and reason.fix for reason in Reason)


def test_an_unknown_modality_is_not_repeated() -> None:
    assert (public_modality("MR"), public_modality("ZWIEBELKUCHEN")) == ("MR", "other")

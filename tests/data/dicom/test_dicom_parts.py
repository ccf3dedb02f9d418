from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from fedgin.data.dicom.reasons import Reason
from tests.data.dicom.enhanced import group, write_enhanced
from tests.data.dicom.series import (
    SeriesSpec,
    make_rules,
    make_slices,
    reasons,
    run,
    the_image,
    world_error,
    write_seg,
    write_slices,
)
from tests.data.dicom.test_dicom_labels import BOTH, MAP

Set = Callable[[pydicom.Dataset, int], None]


def element(keyword: str, *values: object) -> Set:
    """Return what sets an element to the value of part 0, 1 and so on."""
    return lambda dataset, part: setattr(dataset, keyword, values[part])


def private_b(group_number: int, number: int, owner: str, *values: object) -> Set:
    def change(dataset: pydicom.Dataset, part: int) -> None:
        block = dataset.private_block(group_number, owner, create=True)
        block.add_new(number, "IS" if group_number != 0x2001 else "FL", values[part])

    return change


def parts(change: Set, count: int = 2) -> list[list[pydicom.Dataset]]:
    """Return slices of the volumes of one MR series, at the same positions."""
    uid, frame, study = generate_uid(), generate_uid(), generate_uid()
    volumes = []
    for part in range(count):
        spec = SeriesSpec(modality="MR", uid=uid, frame=frame, study=study, seed=part)
        volumes.append(make_slices(spec))
        for dataset in volumes[-1]:
            change(dataset, part)
    return volumes


CASES: dict[str, tuple[Set, dict[str, object]]] = {
    "echo": (element("EchoTime", 2.298, 4.6), {"echo_time": 2.3}),
    "second echo": (element("EchoTime", 2.298, 4.6), {"echo_time": 4.6}),
    "magnitude": (element("ImageType", ["DERIVED", "PRIMARY", "M"], ["DERIVED", "PRIMARY", "P"]), {"image_type": "m"}),
    "in phase": (
        element("ImageType", ["DERIVED", "PRIMARY", "DIXON", "OPP_PHASE"], ["DERIVED", "PRIMARY", "DIXON", "IN_PHASE"]),
        {"image_type": "in_phase"},
    ),
    "b-value": (element("DiffusionBValue", 50.0, 800.0), {"b_value": 800}),
    "b-value, Siemens": (private_b(0x0019, 0x0C, "SIEMENS MR HEADER", 0, 400), {"b_value": 0}),
    "b-value, GE": (private_b(0x0043, 0x39, "GEMS_PARM_01", [1000000050, 6, 0], [1000000500, 6, 0]), {"b_value": 500}),
    "b-value, Philips": (private_b(0x2001, 0x03, "Philips Imaging DD 001", 0.0, 600.0), {"b_value": 600}),
    "time point": (element("TemporalPositionIdentifier", 1, 2), {"time": 2}),
    "acquisition": (element("AcquisitionNumber", 4, 5), {"time": 1}),
    "time of day": (element("AcquisitionTime", "101010.5", "101020"), {"time": 2}),
    "cardiac phase": (element("TriggerTime", 0.0, 430.0), {"time": 1}),
}  # fmt: skip


def chosen(keys: dict[str, object], change: Set) -> int:
    """Return the part that the keys of a case mean."""
    second = {"second echo", "in phase", "b-value", "b-value, GE", "b-value, Philips", "time point", "time of day"}
    return int(next(name for name, case in CASES.items() if case == (change, keys)) in second)


@pytest.mark.parametrize(("change", "keys"), CASES.values(), ids=CASES)
def test_the_rules_choose_a_part_of_a_series(tmp_path: Path, change: Set, keys: dict[str, object]) -> None:
    volumes = parts(change)
    write_slices(tmp_path / "dicom", [item for pair in zip(*volumes, strict=True) for item in pair])
    report = run(tmp_path, make_rules(modality="MR"))
    assert (report.converted, reasons(report)) == (0, [Reason.SEVERAL_PARTS] * 2)
    report = run(tmp_path, make_rules(modality="MR", parts=keys))
    assert (report.converted, reasons(report)) == (1, [Reason.OTHER_PART])
    assert world_error(the_image(tmp_path), volumes[chosen(keys, change)]) < 1e-3


def test_two_traits_are_chosen_together_and_one_is_not_enough(tmp_path: Path) -> None:
    def change(dataset: pydicom.Dataset, part: int) -> None:
        dataset.EchoTime, dataset.AcquisitionNumber = (2.3, 4.6)[part % 2], part // 2 + 1

    volumes = parts(change, 4)
    write_slices(tmp_path / "dicom", [item for volume in volumes for item in volume])
    report = run(tmp_path, make_rules(modality="MR", parts={"echo_time": 4.6}))
    assert sorted(map(str, reasons(report))) == sorted(map(str, [Reason.SEVERAL_PARTS, Reason.OTHER_PART] * 2))
    report = run(tmp_path, make_rules(modality="MR", parts={"echo_time": 4.6, "time": 2}))
    assert report.converted == 1
    assert world_error(the_image(tmp_path), volumes[3]) < 1e-3


def test_a_key_counts_only_where_a_series_has_such_parts(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec(modality="MR"))
    write_slices(tmp_path / "dicom", slices)
    assert run(tmp_path, make_rules(modality="MR", parts={"echo_time": 4.6, "time": 3})).converted == 1


def test_times_that_differ_from_slice_to_slice_make_no_parts(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec(modality="MR"))
    for number, dataset in enumerate(slices):
        dataset.AcquisitionTime, dataset.TriggerTime, dataset.EchoTime = f"10101{number}", 3.0 * number, 4 + number / 9
    write_slices(tmp_path / "dicom", slices)
    assert run(tmp_path, make_rules(modality="MR")).converted == 1


def test_an_incomplete_time_point_is_no_part(tmp_path: Path) -> None:
    first, second = parts(element("AcquisitionNumber", 1, 2))
    write_slices(tmp_path / "dicom", [*first, *second[:4]])
    assert reasons(run(tmp_path, make_rules(modality="MR", parts={"time": 1}))) == [Reason.DUPLICATE_SLICE]


def test_parts_of_one_enhanced_image_are_told_apart(tmp_path: Path) -> None:
    volumes = parts(element("SeriesNumber", 1, 1))

    def change(number: int, frame: pydicom.Dataset) -> None:
        frame.MRDiffusionSequence = [group(DiffusionBValue=(0.0, 800.0)[number // 6])]

    write_enhanced(tmp_path / "dicom" / "enhanced", [*volumes[0], *volumes[1]], change)
    report = run(tmp_path, make_rules(modality="MR", parts={"b_value": 800}))
    assert (report.converted, reasons(report)) == (1, [Reason.OTHER_PART])
    assert world_error(the_image(tmp_path), volumes[1]) < 1e-3


def test_a_segmentation_labels_the_chosen_part(tmp_path: Path) -> None:
    volumes = parts(element("EchoTime", 2.3, 4.6))
    write_slices(tmp_path / "dicom", [item for volume in volumes for item in volume])
    write_seg(tmp_path / "dicom" / "seg", volumes[0], BOTH)
    wanted = make_rules(modality="MR", parts={"echo_time": 4.6}, labels={"map": MAP})
    assert (run(tmp_path, wanted).labelled, len(list((tmp_path / "out" / "images").iterdir()))) == (1, 1)

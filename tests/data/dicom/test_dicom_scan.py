import os
from pathlib import Path

import pydicom
import pytest

from fedgin.data.dicom.header import HeaderReader
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.scan import Scan, scan_tree
from fedgin.errors import DataError
from tests.data.dicom.series import (
    SeriesSpec,
    make_slices,
    reasons,
    run,
    the_image,
    world_error,
    write_series,
    write_slices,
)


def scan(root: Path) -> Scan:
    return scan_tree(root, lambda *_: None)


def test_two_interleaved_series_of_one_folder_are_told_apart(tmp_path: Path) -> None:
    first = write_series(tmp_path / "dicom", SeriesSpec(seed=1), "IM{:04d}_A")
    second = write_series(tmp_path / "dicom", SeriesSpec(seed=2, count=4), "IM{:04d}_B")
    found = scan(tmp_path / "dicom")
    assert {series.key: len(series.slices) for series in found.series} == {
        first[0].SeriesInstanceUID: 6,
        second[0].SeriesInstanceUID: 4,
    }
    assert run(tmp_path).converted == 2


def test_one_series_over_several_folders_is_one(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec())
    write_slices(tmp_path / "dicom" / "a" / "b", slices[:2])
    write_slices(tmp_path / "dicom" / "c", slices[2:])
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_a_dicomdir_is_not_needed(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom")
    directory = pydicom.Dataset()
    directory.file_meta = pydicom.dataset.FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    directory.FileSetID, directory.DirectoryRecordSequence = "CD", []
    directory.save_as(tmp_path / "dicom" / "DICOMDIR", enforce_file_format=True)
    found = scan(tmp_path / "dicom")
    assert (found.directories, len(found.series), found.not_dicom) == (1, 1, 0)


def test_files_that_are_no_dicom_are_counted(tmp_path: Path) -> None:
    write_series(tmp_path)
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.4 " + bytes(200))
    (tmp_path / "empty.txt").touch()
    (tmp_path / "thumbs").mkdir()
    (tmp_path / "thumbs" / "short").write_bytes(b"abc")
    found = scan(tmp_path)
    assert (len(found.series), found.not_dicom) == (1, 3)


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec(syntax=pydicom.uid.ImplicitVRLittleEndian))
    folder = tmp_path / "dicom"
    for path in write_slices(folder, slices):
        whole = path.read_bytes()
        path.write_bytes(whole[132:])
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_an_empty_folder_is_an_error_with_a_fix(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no DICOM object.*Fix: give the folder"):
        run(tmp_path)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        scan(tmp_path / "nowhere")


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom")
    (tmp_path / "dicom" / "loop").symlink_to(tmp_path / "dicom", target_is_directory=True)
    found = scan(tmp_path / "dicom")
    assert ([len(series.slices) for series in found.series], found.links) == ([6], 1)


def test_a_damaged_header_is_listed_alone(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom")
    (tmp_path / "dicom" / "other").mkdir()
    (tmp_path / "dicom" / "other" / "bad").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    report = run(tmp_path)
    assert (report.converted, reasons(report)) == (1, [Reason.DAMAGED_FILE])


@pytest.mark.parametrize("content", [b"", bytes(5000), bytes(128) + b"DICM" + b"\xff" * 40])
def test_a_damaged_file_keeps_the_only_series_of_its_folder_out(tmp_path: Path, content: bytes) -> None:
    write_series(tmp_path / "dicom" / "a")
    write_series(tmp_path / "dicom" / "b", SeriesSpec(seed=1))
    (tmp_path / "dicom" / "a" / "IM0006").write_bytes(content)
    report = run(tmp_path)
    assert (report.converted, reasons(report)) == (1, [Reason.DAMAGED_SLICE, Reason.DAMAGED_FILE])


def test_a_pipe_is_no_dicom_and_is_not_opened(tmp_path: Path) -> None:
    write_series(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    found = scan(tmp_path)
    assert (len(found.series), found.not_dicom) == (1, 1)


def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "dicom")
    closed = tmp_path / "dicom" / "closed"
    closed.mkdir()
    listing = os.scandir

    def refuse(path: str) -> object:
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(closed))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = run(tmp_path)
    assert (report.converted, report.scan.unreadable, reasons(report)) == (1, 1, [Reason.CLOSED_FOLDER])


def test_an_object_without_preamble_that_refers_to_a_series_is_left_out_alone(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    state = pydicom.Dataset()
    state.SOPClassUID, state.SOPInstanceUID, state.Modality = "1.2.840.10008.5.1.4.1.1.11.1", "1.2.3.77", "PR"
    state.SeriesInstanceUID, state.ReferencedSeriesSequence = "1.2.3.7", [pydicom.Dataset()]
    state.ReferencedSeriesSequence[0].SeriesInstanceUID = slices[0].SeriesInstanceUID
    state.file_meta = pydicom.dataset.FileMetaDataset()
    for implicit in (True, False):
        path = tmp_path / "dicom" / f"state {implicit}"
        pydicom.dcmwrite(path, state, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    report = run(tmp_path)
    assert (report.converted, reasons(report)) == (1, [Reason.NO_IMAGE])


def test_blank_uids_group_by_what_else_differs(tmp_path: Path) -> None:
    def blank(_: int, dataset: pydicom.Dataset) -> None:
        dataset.StudyInstanceUID = dataset.SeriesInstanceUID = dataset.SOPInstanceUID = dataset.PatientID = ""

    for number in (1, 2):
        spec = SeriesSpec(change=blank, description=f"series {number}", frame="1.2.3", seed=number)
        write_series(tmp_path / "dicom", spec, f"{{:04d}}_{number}")
    report = run(tmp_path)
    assert (report.converted, report.nameless_patients) == (2, 1)


def test_slices_that_agree_share_their_facts(tmp_path: Path) -> None:
    write_series(tmp_path, SeriesSpec(count=5))
    (series,) = scan(tmp_path).series
    assert len({id(item.facts) for item in series.slices}) == 1


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        HeaderReader().read(tmp_path / "nowhere")


def test_a_broken_link_does_not_stop_the_scan(tmp_path: Path) -> None:
    write_series(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    found = scan(tmp_path)
    assert (found.unreadable, len(found.series)) == (1, 1)

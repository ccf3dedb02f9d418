"""BTCV's layout: read, and refused with all that is wrong."""

from pathlib import Path

import pytest

from fedgin.data.datalist import Split, read_datalist
from fedgin.data.dicom.rules import SplitRules
from fedgin.data.importers.archive_site import write_archive_sites
from fedgin.data.importers.btcv import read_btcv
from fedgin.errors import DataError
from tests.data.importers.miniature_archives import write_btcv


def test_pairs_are_found_and_test_images_and_absent_cases_counted(tmp_path: Path) -> None:
    source = write_btcv(tmp_path, [1, 2, 40], [61, 62])
    archive = read_btcv(source)
    assert [case.name for case in archive.cases] == ["0001", "0002", "0040"]
    assert archive.unlabelled == 2
    assert len(archive.absent) == 27
    assert archive.absent[0] == "0003"
    training = read_btcv(source / "RawData" / "Training")
    assert [case.image for case in training.cases] == [case.image for case in archive.cases]


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    training = write_btcv(tmp_path, [1, 2, 3, 4]) / "RawData" / "Training"
    (training / "img" / "img0001.nii.gz").unlink()
    (training / "label" / "label0003.nii.gz").unlink()
    (training / "label" / "label0004.nii.gz").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_btcv(tmp_path)
    assert "0001: img/img0001.nii.gz; 0003: label/label0003.nii.gz; 0004: label/label0004.nii.gz" in str(caught.value)


def test_a_test_patient_who_was_absent_once_is_never_trained_on(tmp_path: Path) -> None:
    source, out = write_btcv(tmp_path / "archive", [1, 2, 3, 4, 5]), tmp_path / "sites"
    rules = SplitRules(validation=1, test=1)

    def bring_in() -> dict[str, Split]:
        (site,) = write_archive_sites(read_btcv(source), out, rules)
        listed = read_datalist(site.contract.parent / "datalist.json")
        return {str(entry.patient): split for split in Split for entry in listed.entries(split)}

    first = bring_in()
    (tested,) = (patient for patient, split in first.items() if split is Split.TEST)
    files = [path for path in source.rglob("*.nii.gz") if tested in path.name]
    kept = {path: path.read_bytes() for path in files}
    for path in files:
        path.unlink()
    write_btcv(source, [6])
    others = {patient: split for patient, split in first.items() if patient != tested}
    assert bring_in() == {**others, "0006": Split.TEST}
    for path, content in kept.items():
        path.write_bytes(content)
    assert bring_in() == {**first, "0006": Split.TEST}


def test_a_folder_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="SOURCE has no RawData/Training"):
        read_btcv(tmp_path)

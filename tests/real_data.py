"""Find the real CT and MR data that some tests read; it is not part of the repository."""

import os
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from tests.places import ROOT

DEFAULT = ROOT / ".." / "shared" / "data"


def real_data(name: str) -> Path:
    """Return a folder or file of the real data; a test that needs it fails when it is not there."""
    path = (Path(os.environ.get("FEDGIN_TEST_DATA", DEFAULT)) / name).resolve()
    if not path.exists():
        pytest.fail(f"the real data '{name}' is missing: set FEDGIN_TEST_DATA to the folder that holds it")
    return path


def real_dicom_series(folder: Path) -> tuple[list[Path], str]:
    """Give the real series the identifiers that its de-identification blanked; return its files and its study."""
    folder.mkdir()
    study, series, files = generate_uid(), generate_uid(), []
    for number, path in enumerate(sorted(real_data("dicom_ct").iterdir())):
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
        dataset.PatientID = "REAL-1"
        dataset.save_as(folder / f"{number:03d}.dcm")
        files.append(folder / f"{number:03d}.dcm")
    return files, str(study)

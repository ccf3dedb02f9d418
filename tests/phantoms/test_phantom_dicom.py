"""The DICOM study of a phantom patient: valid, taken by ingest, and every voxel at its place in the patient."""

import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from fedgin.data.dicom.ingest import ingest
from fedgin.data.site import Modality
from fedgin.phantoms.anatomy import rasterise
from fedgin.phantoms.dicom import NAME, write_study
from fedgin.phantoms.grid import Grid
from fedgin.phantoms.region import REGIONS
from fedgin.phantoms.subject import subject_rng
from fedgin.phantoms.task import Task
from fedgin.phantoms.tissues import Tissue
from tests.data.dicom.series import make_rules

SEED = 7


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "study"
    write_study(folder, Task.ABDOMEN, SEED, in_plane_mm=5.0)
    return folder


@pytest.mark.parametrize("modality", Modality)
def test_the_validator_says_nothing(study: Path, modality: Modality) -> None:
    path = sorted((study / modality.value).iterdir())[3]
    done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    assert (done.stdout + done.stderr).split() == [f"{modality}Image"]


@pytest.mark.parametrize("modality", Modality)
def test_ingest_takes_it_and_organs_lie_where_they_were_drawn(study: Path, tmp_path: Path, modality: Modality) -> None:
    report = ingest(study, tmp_path / "out", make_rules(modality=modality), tmp_path / "private", lambda *_: None)
    assert report.converted == 1
    assert {item.reason.code for item in report.left_out} == {"wrong_modality"}
    [path] = (tmp_path / "out" / "images").iterdir()
    image = nibabel.as_closest_canonical(nibabel.load(path))
    voxels, affine = np.asarray(image.dataobj), image.affine
    grid = Grid(voxels.shape, tuple(np.diag(affine)[:3]), tuple(affine[:3, 3]))
    tissues = rasterise(REGIONS[Task.ABDOMEN].draw(subject_rng(SEED, NAME, Modality.CT, 1, "anatomy")), grid)
    liver, spleen = (np.argwhere(tissues == organ)[:, 0].mean() for organ in (Tissue.LIVER, Tissue.SPLEEN))
    assert liver > spleen, "+x is the patient's right"
    means = {tissue: float(voxels[tissues == tissue].mean()) for tissue in (Tissue.AIR, Tissue.LIVER, Tissue.LUNG)}
    if modality is Modality.CT:
        assert means[Tissue.AIR] < -900
        assert -900 < means[Tissue.LUNG] < -500
        assert 60 < means[Tissue.LIVER] < 160
    else:
        assert means[Tissue.AIR] < 0.2 * means[Tissue.LIVER]


def test_the_two_series_are_of_one_patient_and_a_second_run_writes_the_same(study: Path, tmp_path: Path) -> None:
    ct, mr = (pydicom.dcmread(study / modality.value / "IM0001.dcm") for modality in Modality)
    for keyword in ("PatientID", "StudyInstanceUID"):
        assert ct[keyword].value == mr[keyword].value
    for keyword in ("SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"):
        assert ct[keyword].value != mr[keyword].value
    write_study(tmp_path / "again", Task.ABDOMEN, SEED, in_plane_mm=5.0)
    first, again = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.dcm")}
        for folder in (study, tmp_path / "again")
    )
    assert first == again

"""The real series: 20 files without extension, JPEG 2000, blank UIDs; thickness 3 mm, spacing 2 mm."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from fedgin.data.dicom.ingest import ingest
from tests.data.dicom.series import make_rules, the_image, world_error
from tests.real_data import real_data


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    report = ingest(real_data("dicom_ct"), folder / "out", make_rules(), folder / "private", lambda *_: None)
    assert (report.converted, report.left_out, report.nameless_patients) == (1, [], 1)
    return folder


def test_it_agrees_with_the_reference_labels(converted: Path) -> None:
    image, reference = the_image(converted), nibabel.load(real_data("dicom_ct_seg.nii.gz"))
    assert image.shape == reference.shape == (512, 512, 20)
    assert nibabel.aff2axcodes(image.affine) == nibabel.aff2axcodes(reference.affine)
    np.testing.assert_allclose(image.affine, reference.affine, atol=1e-6)
    assert image.header.get_zooms() == pytest.approx((0.9765625, 0.9765625, 2.0))


def test_organs_have_their_hounsfield_units(converted: Path) -> None:
    voxels = np.asarray(the_image(converted).dataobj)
    labels = np.asarray(nibabel.load(real_data("dicom_ct_seg.nii.gz")).dataobj)
    spleen, liver = (float(np.median(voxels[labels == label])) for label in (1, 5))
    assert voxels.dtype == np.int16
    assert voxels.min() == -1024
    assert 60 < spleen < 110
    assert 60 < liver < 120


def test_every_voxel_is_where_the_standard_puts_it(converted: Path) -> None:
    slices = [pydicom.dcmread(path) for path in sorted(real_data("dicom_ct").iterdir())]
    assert world_error(the_image(converted), slices) < 1e-3

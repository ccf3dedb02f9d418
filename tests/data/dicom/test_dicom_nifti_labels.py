import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from fedgin.data.dicom.ingest import IngestReport
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.rules import IngestRules
from fedgin.errors import ConfigError
from tests.data.dicom.series import CORONAL, SeriesSpec, make_rules, reasons, run, the_image, write_series

OBLIQUE = (0.96, 0.28, 0.0, -0.28, 0.96, 0.0)
TURNS = ["LAS", "RAS", "LPI", "SRA", "AIR"]
MAP = {"5": "liver", "9": "spleen", "7": "liver"}


def rules(root: Path, **labels: object) -> IngestRules:
    return make_rules(labels={"source": "nifti", "folder": root / "masks", "map": MAP, **labels})


def reference(folder: Path) -> nibabel.Nifti1Image:
    """Convert the images alone and return the only one, as a hospital that labels converted images has it."""
    run(folder)
    image = the_image(folder)
    return nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine)


def marked(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return ids of two organs, the first in two parts, and of one that no rules name."""
    ids = np.zeros(shape, dtype=np.uint8)
    ids[0, :2, :3], ids[1, 1:3, 2:], ids[3:, 4:, 1:], ids[2, 5:, 0] = 5, 7, 9, 3
    return ids


def write_mask(folder: Path, name: str, image: nibabel.Nifti1Image, ids: NDArray[np.generic], axes: str = "") -> Path:
    mask = nibabel.Nifti1Image(ids, image.affine)
    if axes:
        turns = nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(axes)
        )
        mask = mask.as_reoriented(turns)
    (folder / "masks").mkdir(exist_ok=True)
    nibabel.save(mask, folder / "masks" / name)
    return folder / "masks" / name


def label_of(folder: Path) -> nibabel.Nifti1Image:
    (path,) = (folder / "out" / "labels").iterdir()
    return nibabel.load(path)


@pytest.mark.parametrize("axes", TURNS)
@pytest.mark.parametrize("orientation", [OBLIQUE, CORONAL])
def test_a_label_file_in_any_order_of_axes_lies_on_the_image(
    tmp_path: Path, axes: str, orientation: tuple[float, ...]
) -> None:
    spec = SeriesSpec(orientation=orientation)
    write_series(tmp_path / "dicom", spec)
    image = reference(tmp_path)
    ids = marked(image.shape) if orientation is OBLIQUE else marked(image.shape[::-1]).T.copy()
    write_mask(tmp_path, f"{spec.uid}.nii.gz", image, ids, axes)
    report = run(tmp_path, rules(tmp_path))
    assert (report.labelled, reasons(report)) == (1, [])
    label = label_of(tmp_path)
    expected = np.select([np.isin(ids, [5, 7]), ids == 9], [1, 2], 0)
    np.testing.assert_array_equal(np.asarray(label.dataobj), expected)
    np.testing.assert_array_equal(label.affine, the_image(tmp_path).affine)


def test_an_ending_in_capitals_is_one_and_a_shadow_of_macos_is_no_label(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom" / "a")
    image = reference(tmp_path)
    write_mask(tmp_path, "a.nii.gz", image, marked(image.shape)).rename(tmp_path / "masks" / "a.NII.GZ")
    (tmp_path / "masks" / "._a.nii.gz").write_bytes(b"\0\5\x16\7Mac OS X")
    report = run(tmp_path, rules(tmp_path))
    assert (report.labelled, reasons(report)) == (1, [])


@pytest.mark.parametrize("name", ["study-7", "CT"])
def test_a_folder_names_its_only_series(tmp_path: Path, name: str) -> None:
    write_series(tmp_path / "dicom" / "study-7" / "CT")
    image = reference(tmp_path)
    write_mask(tmp_path, f"{name}.nii", image, marked(image.shape))
    assert run(tmp_path, rules(tmp_path)).labelled == 1


def test_a_label_file_that_was_written_again_is_read_again_and_an_old_one_is_kept(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom" / "a")
    image = reference(tmp_path)
    ids = marked(image.shape)
    for change in (None, (5, 9), None):
        if change:
            ids[ids == change[0]] = change[1]
        write_mask(tmp_path, "a.nii", image, ids)
        assert run(tmp_path, rules(tmp_path, may_be_absent=["liver"])).labelled == 1
        assert (np.asarray(label_of(tmp_path).dataobj) == 2).sum() == (ids == 9).sum()
    before = [path.stat().st_mtime_ns for path in (tmp_path / "out" / "labels").iterdir()]
    assert run(tmp_path, rules(tmp_path, may_be_absent=["liver"])).labelled == 1
    assert before == [path.stat().st_mtime_ns for path in (tmp_path / "out" / "labels").iterdir()]


def refused(folder: Path, name: str, image: nibabel.Nifti1Image, ids: NDArray[np.generic]) -> IngestReport:
    write_mask(folder, name, image, ids)
    report = run(folder, rules(folder))
    assert report.labelled == 0
    assert not list((folder / "out").glob("labels/*"))
    return report


def test_a_label_on_another_grid_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom" / "a")
    image = reference(tmp_path)
    ids = marked(image.shape)
    moved = image.affine.copy()
    moved[0, 3] += 0.2
    assert reasons(refused(tmp_path, "a.nii", nibabel.Nifti1Image(ids, moved), ids)) == [Reason.LABEL_GRID]
    assert reasons(refused(tmp_path, "a.nii", image, ids[:, :, :-1])) == [Reason.LABEL_GRID]


def test_a_label_file_that_is_none_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom" / "a")
    image = reference(tmp_path)
    ids = marked(image.shape)
    assert reasons(refused(tmp_path, "a.nii", image, ids * np.float32(0.3))) == [Reason.LABEL_FILE]
    (tmp_path / "masks" / "a.nii").write_bytes(b"no image")
    assert reasons(run(tmp_path, rules(tmp_path))) == [Reason.LABEL_FILE]


def test_an_organ_without_a_voxel_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom" / "a")
    image = reference(tmp_path)
    ids = marked(image.shape)
    ids[ids == 9] = 0
    assert reasons(refused(tmp_path, "a.nii", image, ids)) == [Reason.LABEL_NAMES]


def test_two_label_files_of_one_series_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom" / "a")
    image = reference(tmp_path)
    write_mask(tmp_path, "a.nii.gz", image, marked(image.shape))
    assert reasons(refused(tmp_path, "a.nii", image, marked(image.shape))) == [Reason.LABEL_TWICE]


def test_a_file_named_like_two_series_or_none_is_listed_under_a_pseudonym(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom" / "Zwiebelkuchen")
    image = reference(tmp_path)
    write_series(tmp_path / "dicom" / "Zwiebelkuchen" / "second", SeriesSpec(seed=1))
    write_mask(tmp_path, "Ottokar.nii", image, marked(image.shape))
    report = refused(tmp_path, "Zwiebelkuchen.nii", image, marked(image.shape))
    alone = [Reason.LABEL_WITHOUT_IMAGE, Reason.LABEL_AMBIGUOUS]
    assert reasons(report) == [*alone, Reason.NO_LABEL, Reason.NO_LABEL]
    text = (tmp_path / "out" / "quarantine.json").read_text()
    assert "Zwiebelkuchen" not in text
    assert "Ottokar" not in text
    (table,) = (tmp_path / "private").glob("*.csv")
    pseudonym = json.loads(text)[0]["series"]
    [row] = [line for line in table.read_text().splitlines() if pseudonym in line]
    assert row.endswith("Ottokar.nii")


@pytest.mark.parametrize("place", ["missing", "empty", "out"])
def test_a_folder_without_labels_ends_the_run_before_it_begins(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"'labels\.folder'"):
        run(tmp_path, rules(tmp_path, folder=tmp_path / place))
    assert not (tmp_path / "out").exists()

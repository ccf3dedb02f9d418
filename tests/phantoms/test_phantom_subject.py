from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from fedgin.data.site import Modality
from fedgin.phantoms.abdomen import draw_abdomen
from fedgin.phantoms.subject import PhantomSite, subject_rng, write_subject
from fedgin.phantoms.task import Task

IDS = {"liver": 6, "spleen": 1, "right_kidney": 2, "left_kidney": 3}
SITE = PhantomSite("site-1", Modality.CT, 1, 0, 0, 7, IDS, in_plane_mm=8.0)


def write(
    folder: Path, modality: Modality = Modality.CT, orientation: str = "LAS", index: int = 1
) -> tuple[Path, Path]:
    return write_subject(folder, replace(SITE, modality=modality, orientation=orientation), index)


def ras_x(path: Path, label: int) -> float:
    image = nib.load(path)
    voxels: NDArray[np.int64] = np.argwhere(np.asarray(image.dataobj) == label)
    return float(apply_affine(image.affine, voxels)[:, 0].mean())


@pytest.mark.parametrize("orientation", ["LAS", "RAS", "LPI", "ASR"])
def test_sides_are_right_in_every_stored_orientation(tmp_path: Path, orientation: str) -> None:
    image, label = write(tmp_path, orientation=orientation)
    for path in (image, label):
        assert nib.aff2axcodes(nib.load(path).affine) == tuple(orientation)
    # In NIfTI's RAS world positive x is the patient's right.
    assert ras_x(label, IDS["liver"]) > 30
    assert ras_x(label, IDS["right_kidney"]) > 30
    assert ras_x(label, IDS["spleen"]) < -30
    assert ras_x(label, IDS["left_kidney"]) < -30


def test_all_orientations_hold_the_same_world(tmp_path: Path) -> None:
    worlds = []
    for orientation in ("RAS", "LPI"):
        canonical = nib.as_closest_canonical(nib.load(write(tmp_path / orientation, orientation=orientation)[0]))
        worlds.append((np.asarray(canonical.dataobj), canonical.affine))
    np.testing.assert_array_equal(worlds[0][0], worlds[1][0])
    np.testing.assert_allclose(worlds[0][1], worlds[1][1], atol=1e-4)


@pytest.mark.parametrize("modality", list(Modality))
def test_a_seed_repeats_the_files_byte_by_byte(tmp_path: Path, modality: Modality) -> None:
    first, again = write(tmp_path / "a", modality), write(tmp_path / "b", modality)
    for one, two in zip(first, again, strict=True):
        assert one.name == two.name
        assert one.read_bytes() == two.read_bytes()


def test_names_types_and_header_say_phantom(tmp_path: Path) -> None:
    image, label = write(tmp_path, Modality.MR, index=12)
    assert image == tmp_path / "images" / "phantom_abdomen_mr_012.nii.gz"
    assert label == tmp_path / "labels" / "phantom_abdomen_mr_012_seg.nii.gz"
    stored, segmentation = nib.load(image), nib.load(label)
    assert b"phantom" in stored.header["descrip"].item()
    assert segmentation.get_data_dtype() == np.uint8
    assert stored.shape == segmentation.shape
    assert set(np.unique(np.asarray(segmentation.dataobj))) == {0, *IDS.values()}
    assert np.asarray(stored.dataobj).min() >= 0


def test_ct_is_in_hounsfield_units(tmp_path: Path) -> None:
    values = np.asarray(nib.load(write(tmp_path)[0]).dataobj)
    assert values.dtype == np.int16
    assert values.min() == -1000
    assert -1000 <= np.median(values[0]) <= -985


def test_no_two_subjects_share_an_anatomy() -> None:
    keys = [
        (7, "site-1", Modality.CT, 1),
        (7, "site-1", Modality.MR, 1),
        (7, "site-1", Modality.CT, 2),
        (7, "site-2", Modality.CT, 1),
        (8, "site-1", Modality.CT, 1),
    ]
    scales = {draw_abdomen(subject_rng(*key, "anatomy")).habitus for key in keys}
    assert len(scales) == len(keys)


def test_existing_subjects_are_kept_and_missing_files_restored(tmp_path: Path) -> None:
    image, label = write(tmp_path)
    original, stamp = image.read_bytes(), image.stat().st_mtime_ns
    write(tmp_path)
    assert image.stat().st_mtime_ns == stamp
    label.unlink()
    write(tmp_path)
    assert label.exists()
    assert image.read_bytes() == original


def test_tasks_in_one_folder_do_not_take_each_others_files(tmp_path: Path) -> None:
    abdomen = write(tmp_path)
    heart = write_subject(tmp_path, replace(SITE, label_ids={"left_ventricle": 1}, task=Task.HEART), 1)
    assert not set(abdomen) & set(heart)
    assert set(np.unique(np.asarray(nib.load(heart[1]).dataobj))) == {0, 1}


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_image: object, part: Path) -> None:
        part.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(nib, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

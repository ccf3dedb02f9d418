"""MM-WHS's layout: values up to 850 become ids, and what is missing is said."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from fedgin.data.dicom.rules import SplitRules
from fedgin.data.importers.archive_site import write_archive_sites
from fedgin.data.importers.label_ids import MMWHS_IDS, MMWHS_VALUES
from fedgin.data.importers.mmwhs import read_mmwhs
from fedgin.data.importers.renumbered import Renumbered
from fedgin.data.organs import ORGANS
from fedgin.errors import DataError
from tests.data.importers.miniature_archives import save, write_mmwhs


def test_every_value_is_a_known_organ_with_an_id() -> None:
    assert MMWHS_VALUES.keys() == {205, 420, 421, 500, 550, 600, 820, 850}
    assert set(MMWHS_VALUES.values()) == MMWHS_IDS.keys() <= ORGANS.keys()


def test_values_become_ids_and_the_slip_of_the_archive_is_mended(tmp_path: Path) -> None:
    source = write_mmwhs(tmp_path / "mmwhs", [1001, 1002, 1003], [2001])
    archive = read_mmwhs(source)
    assert (archive.unlabelled, len(archive.absent)) == (2, 34)
    ct, mr = write_archive_sites(archive, tmp_path / "sites", SplitRules())
    assert ct.labels == mr.labels == {"right_ventricle": 2, "left_atrium": 3}
    written = nibabel.load(mr.contract.parent / "labels" / "mr_train_1001.nii.gz")
    original = np.asarray(nibabel.load(source / "mr_train" / "mr_train_1001_label.nii.gz").dataobj)
    ids = np.asarray(written.dataobj)
    assert ids.dtype == np.uint8
    np.testing.assert_array_equal(ids == 3, (original == 420) | (original == 421))
    np.testing.assert_array_equal(ids == 2, original == 600)
    image = ct.contract.parent / "images" / "ct_train_1001.nii.gz"
    assert image.readlink() == (source / "ct_train" / "ct_train_1001_image.nii.gz").resolve()


def test_a_value_of_no_organ_is_refused(tmp_path: Path) -> None:
    source = write_mmwhs(tmp_path / "mmwhs", [1001, 1002])
    path = source / "ct_train" / "ct_train_1002_label.nii.gz"
    label = np.asarray(nibabel.load(path).dataobj).copy()
    label[0, 0, 0] = 300
    save(path, label)
    with pytest.raises(DataError, match=r"ct_train_1002: ct_train_1002_label\.nii\.gz holds .*no organ, such as 300"):
        write_archive_sites(read_mmwhs(source), tmp_path / "sites", SplitRules())


def test_a_label_that_a_disk_changed_is_refused(tmp_path: Path) -> None:
    source = write_mmwhs(tmp_path / "mmwhs", [1001, 1002])
    path = source / "ct_train" / "ct_train_1002_label.nii.gz"
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # of the checksum
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"ct_train_1002_label\.nii\.gz is cut off or damaged"):
        write_archive_sites(read_mmwhs(source), tmp_path / "sites", SplitRules())


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    source = write_mmwhs(tmp_path / "mmwhs", [1001, 1002])
    (source / "ct_train" / "ct_train_1001_label.nii.gz").unlink()
    (source / "mr_train" / "mr_train_1002_image.nii.gz").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_mmwhs(source)
    for part in ("lacks files of 2 cases", "ct_train_1001_label.nii.gz", "mr_train_1002: mr_train_1002_image.nii.gz"):
        assert part in str(caught.value)


def test_a_case_in_two_folders_is_refused(tmp_path: Path) -> None:
    """Its image could come from the one and its label, as somebody had changed it, from the other."""
    source = write_mmwhs(tmp_path / "mmwhs", [1001, 1002])
    (source / "old").mkdir()
    label = "ct_train_1001_label.nii.gz"
    shutil.copy(source / "ct_train" / label, source / "old" / label)
    with pytest.raises(DataError, match="ct_train_1001: only one ct_train_1001_label"):
        read_mmwhs(source)


def test_a_file_in_a_folder_of_its_own_name_is_one(tmp_path: Path) -> None:
    """As some programs unpack a ``.gz``."""
    source = write_mmwhs(tmp_path / "mmwhs", [1001])
    packed = source / "ct_train" / "ct_train_1001_label.nii.gz"
    folder = packed.with_suffix("")
    folder.mkdir()
    nibabel.save(nibabel.load(packed), folder / folder.name)
    packed.unlink()
    case = read_mmwhs(source).cases[0]
    assert isinstance(case.label, Renumbered)
    assert case.label.files() == [folder / folder.name]


def test_a_folder_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"SOURCE has no file such as ct_train_1001_image"):
        read_mmwhs(tmp_path)


def test_a_folder_of_the_archive_may_be_a_link(tmp_path: Path) -> None:
    source = write_mmwhs(tmp_path / "mmwhs", [1001, 1002])
    (source / "mr_train").rename(tmp_path / "elsewhere")
    whole = read_mmwhs(source)
    (source / "mr_train").symlink_to(tmp_path / "elsewhere")
    assert len(read_mmwhs(source).cases) > len(whole.cases)

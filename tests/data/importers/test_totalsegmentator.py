"""TotalSegmentator's layout: read, merged, split; and refused with all that is wrong."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from fedgin.data.datalist import Split, read_datalist
from fedgin.data.dicom.rules import SplitRules
from fedgin.data.importers.archive_site import ArchiveSite, write_archive_sites
from fedgin.data.importers.label_ids import TOTALSEGMENTATOR_MERGED_IDS
from fedgin.data.importers.totalsegmentator import read_totalsegmentator
from fedgin.data.organs import ORGANS
from fedgin.data.site import load_site
from fedgin.data.validation import Severity, validate_site
from fedgin.data.volumes import is_hu_like
from fedgin.errors import ConfigError, DataError
from fedgin.folders import FolderError
from tests.data.importers.miniature_archives import save, write_totalsegmentator
from tests.real_data import real_data

SPLITS = {f"s{number:04}": split for number, split in enumerate(("train", "train", "train", "val", "test"), start=1)}
SAVED_MASKS = "segmentations"


def bring_in(source: Path, out: Path, seed: int = 42) -> ArchiveSite:
    (site,) = write_archive_sites(read_totalsegmentator(source), out, SplitRules(seed=seed))
    return site


def patients(site: ArchiveSite, split: Split) -> list[str | None]:
    return [entry.patient for entry in read_datalist(site.contract.parent / "datalist.json").entries(split)]


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8-sig")))


def test_every_mask_has_the_name_of_a_known_organ_and_an_id_of_its_own() -> None:
    assert TOTALSEGMENTATOR_MERGED_IDS.keys() <= ORGANS.keys()
    assert sorted(TOTALSEGMENTATOR_MERGED_IDS.values()) == list(range(1, len(TOTALSEGMENTATOR_MERGED_IDS) + 1))


@pytest.mark.parametrize("image", ["ct.nii.gz", "mri.nii.gz"])
def test_an_archive_becomes_a_site_without_a_fault(tmp_path: Path, image: str) -> None:
    source = write_totalsegmentator(tmp_path / "archive", SPLITS | {"s0006": "val"}, image)
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    site = bring_in(source, tmp_path / "sites")
    assert site.contract.parent.name == ("totalsegmentator-ct" if image == "ct.nii.gz" else "totalsegmentator-mr")
    assert site.labels == {"spleen": 1, "liver": 5}, "a mask that is empty everywhere labels nothing"
    assert [patients(site, split) for split in Split] == [["s0001", "s0002", "s0003"], ["s0004", "s0006"], ["s0005"]]
    assert site.drawn == []
    found = validate_site(load_site(site.contract)).findings
    assert [finding for finding in found if finding.severity is not Severity.PASS] == []
    assert (site.contract.parent / "images" / "s0001.nii.gz").readlink() == (source / "s0001" / image).resolve()
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before


def test_where_masks_overlap_the_smaller_organ_has_the_voxel(tmp_path: Path) -> None:
    source = write_totalsegmentator(tmp_path / "archive", SPLITS)
    folder = source / "s0002" / SAVED_MASKS
    liver, spleen = (np.asarray(nibabel.load(folder / f"{organ}.nii.gz").dataobj) for organ in ("liver", "spleen"))
    save(folder / "liver.nii.gz", (liver + spleen) * np.uint8(255))
    site = bring_in(source, tmp_path / "sites")
    merged = np.asarray(nibabel.load(site.contract.parent / "labels" / "s0002.nii.gz").dataobj)
    np.testing.assert_array_equal(merged == 1, spleen == 1)
    np.testing.assert_array_equal(merged == 5, liver == 1)
    assert site.overlaps == np.count_nonzero(spleen)


def test_all_that_is_missing_is_said_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    source = write_totalsegmentator(tmp_path / "archive", SPLITS)
    (source / "s0001" / SAVED_MASKS / "liver.nii.gz").unlink()
    (source / "s0001" / SAVED_MASKS / "pancreas.nii.gz").write_bytes(b"")
    (source / "s0003" / "ct.nii.gz").unlink()
    rewrite(source / "meta.csv", lambda text: text.replace("s0002;", "s0099;"))
    with pytest.raises(DataError) as caught:
        bring_in(source, tmp_path / "sites")
    for part in (
        "lacks files of 4 cases",
        "s0001: segmentations/liver.nii.gz, segmentations/pancreas.nii.gz",
        "s0002: its row in meta.csv",
        "s0003: one of ct.nii.gz and mri.nii.gz",
        "s0099: the whole folder",
    ):
        assert part in str(caught.value)
    assert not (tmp_path / "sites").exists()


def test_damaged_masks_are_said_at_once_and_the_second_run_merges_only_what_is_left(tmp_path: Path) -> None:
    source = write_totalsegmentator(tmp_path / "archive", SPLITS)
    cut_off, other_grid = (source / name / SAVED_MASKS / "liver.nii.gz" for name in ("s0002", "s0004"))
    whole = {path: path.read_bytes() for path in (cut_off, other_grid)}
    cut_off.write_bytes(whole[cut_off][:-20])
    save(other_grid, np.zeros((4, 4, 4), dtype=np.uint8))
    with pytest.raises(DataError, match=r"s0002: liver\.nii\.gz is cut.*; s0004: liver\.nii\.gz is not on the grid"):
        bring_in(source, tmp_path / "sites")
    site = tmp_path / "sites" / "totalsegmentator-ct"
    assert sorted(path.name for path in (site / "labels").iterdir()) == ["s0001.nii.gz", "s0003.nii.gz", "s0005.nii.gz"]
    assert not (site / "site.yaml").exists()
    merged = {path: path.stat().st_ino for path in (site / "labels").iterdir()}
    (site / "labels" / ".part-1-s0002.nii.gz").write_bytes(b"of a killed run")
    for path, content in whole.items():
        path.write_bytes(content)
    assert bring_in(source, tmp_path / "sites").cases.total() == 5
    assert len(list((site / "labels").iterdir())) == 5
    assert {path: path.stat().st_ino for path in merged} == merged


@pytest.mark.parametrize("stored", ["255 as int8", "NaN", "label of several organs", "grey picture"])
def test_a_file_that_is_no_mask_is_refused_and_not_an_absent_organ(tmp_path: Path, stored: str) -> None:
    source = write_totalsegmentator(tmp_path / "archive", SPLITS)
    path = source / "s0003" / SAVED_MASKS / "liver.nii.gz"
    mask = nibabel.load(path)
    inside: NDArray[np.bool_] = np.asarray(mask.dataobj) > 0
    voxels: NDArray[Any]
    if stored == "255 as int8":
        voxels = (inside * np.uint8(255)).view(np.int8)
    elif stored == "NaN":
        voxels = np.where(inside, np.nan, 0).astype(np.float32)
    elif stored == "label of several organs":
        voxels = inside * np.uint8(5)
        voxels[0, 0, 0] = 1
    else:
        voxels = np.where(inside, 255.0, 12.5).astype(np.float32)
    nibabel.Nifti1Image(voxels, mask.affine, dtype=voxels.dtype).to_filename(path)
    with pytest.raises(DataError, match=r"s0003: liver\.nii\.gz holds values of no mask"):
        bring_in(source, tmp_path / "sites")


@pytest.mark.parametrize("value", [1, 255, 0.75])
def test_a_mask_may_be_stored_with_any_one_value(tmp_path: Path, value: float) -> None:
    source = write_totalsegmentator(tmp_path / "archive", SPLITS)
    expected = bring_in(source, tmp_path / "before").labels
    for path in source.glob(f"*/{SAVED_MASKS}/liver.nii.gz"):
        mask = nibabel.load(path)
        voxels = ((np.asarray(mask.dataobj) > 0) * value).astype(np.uint8 if value >= 1 else np.float32)
        nibabel.Nifti1Image(voxels, mask.affine).to_filename(path)
    assert bring_in(source, tmp_path / "after").labels == expected


def test_a_mask_that_resampling_left_beyond_0_and_1_is_one(tmp_path: Path) -> None:
    """As cubic splines leave it."""
    source = write_totalsegmentator(tmp_path / "archive", SPLITS)
    expected = bring_in(source, tmp_path / "before").labels
    for path in source.glob(f"*/{SAVED_MASKS}/liver.nii.gz"):
        mask = nibabel.load(path)
        inside = np.asarray(mask.dataobj) > 0
        ripple = np.random.default_rng(0).uniform(-0.1, 0.1, inside.shape)
        nibabel.Nifti1Image((inside + ripple).astype(np.float32), mask.affine).to_filename(path)
    assert bring_in(source, tmp_path / "after").labels == expected


def test_a_mask_that_changed_is_merged_again(tmp_path: Path) -> None:
    source = write_totalsegmentator(tmp_path / "archive", SPLITS)
    site = bring_in(source, tmp_path / "sites")
    mask = source / "s0001" / SAVED_MASKS / "spleen.nii.gz"
    voxels = np.asarray(nibabel.load(mask).dataobj)
    save(mask, np.zeros_like(voxels))
    os.utime(mask, ns=(1, 1))
    bring_in(source, tmp_path / "sites")
    merged = np.asarray(nibabel.load(site.contract.parent / "labels" / "s0001.nii.gz").dataobj)
    assert set(np.unique(merged)) == {0, 5}


def test_a_subject_without_any_organ_is_left_out_and_told(tmp_path: Path) -> None:
    source = write_totalsegmentator(tmp_path / "archive", SPLITS)
    for mask in (source / "s0001" / SAVED_MASKS).glob("[ls]*.nii.gz"):
        save(mask, np.zeros(nibabel.load(mask).shape, dtype=np.uint8))
    site = bring_in(source, tmp_path / "sites")
    assert site.empty == 1
    assert patients(site, Split.TRAINING) == ["s0002", "s0003"]


def test_splits_that_the_archive_lacks_are_drawn_by_seed_and_stay(tmp_path: Path) -> None:
    source = write_totalsegmentator(tmp_path / "archive", dict.fromkeys((f"s{number:04}" for number in range(5)), ""))
    site = bring_in(source, tmp_path / "sites", seed=1)
    assert site.drawn == [Split.VALIDATION, Split.TEST]
    lists = [patients(site, split) for split in Split]
    assert [len(names) for names in lists] == [3, 1, 1]
    again = bring_in(source, tmp_path / "sites", seed=2)
    assert [patients(again, split) for split in Split] == lists
    (source / "meta.csv").unlink()
    alike = bring_in(source, tmp_path / "more", seed=1)
    assert [patients(alike, split) for split in Split] == lists


def test_splits_that_somebody_gives_come_before_those_of_the_archive(tmp_path: Path) -> None:
    archive = read_totalsegmentator(write_totalsegmentator(tmp_path / "archive", SPLITS))
    given = {"s0001": Split.TEST, "s0004": Split.TRAINING, "s0002": Split.VALIDATION}
    (site,) = write_archive_sites(archive, tmp_path / "sites", SplitRules(), given=given)
    assert [patients(site, split) for split in Split] == [["s0003", "s0004"], ["s0002"], ["s0001", "s0005"]]
    with pytest.raises(ConfigError, match="in OUT these have another split: s0001"):
        write_archive_sites(archive, tmp_path / "sites", SplitRules(), given={"s0001": Split.TRAINING})
    with pytest.raises(ConfigError, match="patients that the archive does not have: s0009"):
        write_archive_sites(archive, tmp_path / "more", SplitRules(), given={"s0009": Split.TEST})


def test_a_page_shows_each_organ_that_some_label_has(tmp_path: Path) -> None:
    source = write_totalsegmentator(tmp_path / "archive", SPLITS)
    page = (bring_in(source, tmp_path / "sites").contract.parent / "labels.html").read_text()
    for organ in ("spleen", "liver"):
        assert f"<b>{organ}</b>" in page
    assert page.count("data:image/jpeg") == 2
    assert "pancreas" not in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace(";", ","), "no table with a column image_id"),
        (lambda text: text.replace(";val", ";tuning"), "the split 'tuning'"),
        (lambda text: text + "s0001;60;;;;test\n", "subjects in two rows"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    source = write_totalsegmentator(tmp_path / "archive", SPLITS)
    rewrite(source / "meta.csv", change)
    with pytest.raises(DataError, match=said):
        read_totalsegmentator(source)


def test_a_folder_that_is_no_archive_or_not_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder in SOURCE has ct\.nii\.gz"):
        read_totalsegmentator(tmp_path)
    source = write_totalsegmentator(tmp_path / "archive", SPLITS)
    with pytest.raises(FolderError):
        bring_in(source, source / "s0001")


def test_a_disk_that_refuses_is_told_without_a_path(tmp_path: Path) -> None:
    source = write_totalsegmentator(tmp_path / "archive", SPLITS)
    site = bring_in(source, tmp_path / "sites")
    for link in (images := site.contract.parent / "images").iterdir():
        link.unlink()
    images.rmdir()
    images.write_bytes(b"")
    with pytest.raises(FolderError, match="OUT cannot be written: File exists"):
        bring_in(source, tmp_path / "sites")


def test_the_real_reference_case_in_its_archive_layout(tmp_path: Path) -> None:
    ids = {"spleen": 1, "kidney_right": 2, "kidney_left": 3, "liver": 5, "aorta": 7, "pancreas": 10}
    image, label = real_data("small/ct.nii.gz"), nibabel.load(real_data("small/ct_seg.nii.gz"))
    voxels = np.asarray(label.dataobj)
    subject = tmp_path / "archive" / "s0000"
    for organ, number in ids.items():
        save(subject / SAVED_MASKS / f"{organ}.nii.gz", (voxels == number).astype(np.uint8), label.affine)
    (subject / "ct.nii.gz").symlink_to(image)
    site = bring_in(tmp_path / "archive", tmp_path / "sites")
    merged = nibabel.load(site.contract.parent / "labels" / "s0000.nii.gz")
    np.testing.assert_array_equal(np.asarray(merged.dataobj) == 5, voxels == ids["liver"])
    np.testing.assert_allclose(merged.affine, label.affine)
    assert len(site.labels) == len(ids)
    findings = validate_site(load_site(site.contract)).findings
    assert {finding.code for finding in findings if finding.severity is not Severity.PASS} == {"few_cases"}
    assert is_hu_like(np.asarray(nibabel.load(site.contract.parent / "images" / "s0000.nii.gz").dataobj))

"""Which image belongs to which label, and whose they are, in the layouts of public sets."""

from pathlib import Path

import pytest

from fedgin.data.importers.folder_pairs import find_pairs
from fedgin.errors import DataError
from tests.modes import bound_by_modes

LAYOUTS = {
    "BTCV": (["ct_01.nii.gz", "seg_01.nii.gz"], {"01"}),
    "BTCV as published": (["img/img0001.nii.gz", "label/label0001.nii.gz"], {"0001"}),
    "Decathlon": (["imagesTr/liver_1.nii.gz", "labelsTr/liver_1.nii.gz"], {"liver-1"}),
    "nnU-Net": (["imagesTr/amos_0600_0000.nii.gz", "labelsTr/amos_0600.nii.gz"], {"amos-0600"}),
    "case 0000": (["ct_0000.nii", "seg_0000.nii"], {"0000"}),
    "ACDC": (
        [
            *("patient001/patient001_frame01.nii.gz", "patient001/patient001_frame01_gt.nii.gz"),
            *("patient001/patient001_frame12.nii.gz", "patient001/patient001_frame12_gt.nii.gz"),
        ],
        {"patient-001-patient-001"},
    ),
    "TotalSegmentator": (["s0011/ct.nii.gz", "s0011/segmentations.nii.gz"], {"s-0011"}),
    "BIDS": (
        ["sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz", "sub-01/ses-2/anat/sub-01_ses-2_dseg.nii.gz"],
        {"sub-01-sub-01"},
    ),
    "PNG slices": (["1001_12_img.png", "1001_12_seg.png", "1001_13_img.png", "1001_13_seg.png"], {"1001"}),
    "own ingest": (["images/ab3.nii", "labels/ab3.nii"], {"ab-3"}),
}


def lay_out(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_image_and_label_are_found_by_name(tmp_path: Path, layout: str) -> None:
    names, patients = LAYOUTS[layout]
    pairs = find_pairs(lay_out(tmp_path, names))
    assert [name for pair in pairs.found for name in (pair.image.as_posix(), pair.label.as_posix())] == names
    assert {pair.patient for pair in pairs.found} == patients
    assert (pairs.images_alone, pairs.labels_alone) == (0, 0)


def test_what_has_no_partner_is_counted_and_hidden_files_are_not(tmp_path: Path) -> None:
    names = ["ct_1.nii", "seg_1.nii", "ct_2.nii", "seg_3.nii", "._ct_4.nii", ".cache/ct_5.nii", "notes.txt"]
    pairs = find_pairs(lay_out(tmp_path, names))
    assert (len(pairs.found), pairs.images_alone, pairs.labels_alone) == (1, 1, 1)


@pytest.mark.parametrize("names", [["ct_1.nii", "mr_1.nii", "seg_1.nii"], ["ct_1.nii", "seg_1.nii", "mask_1.nii"]])
def test_several_candidates_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(DataError, match="1 cases have several images or labels"):
        find_pairs(lay_out(tmp_path, names))


def test_a_folder_without_pairs_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 1 images and 1 labels") as caught:
        find_pairs(lay_out(tmp_path, ["MUSTERMANN_1.nii", "seg_2.nii"]))
    assert "MUSTERMANN" not in str(caught.value)


def test_cases_behind_links_to_folders_are_found_once(tmp_path: Path) -> None:
    archive = lay_out(tmp_path / "archive", ["ct_1.nii", "seg_1.nii", "2024/ct_2.nii", "2024/seg_2.nii"])
    folder = lay_out(tmp_path / "data", ["own/ct_3.nii", "own/seg_3.nii"])
    (archive / "round").symlink_to(folder)
    for name, target in {"all": archive, "latest": archive / "2024", "again": folder / "own"}.items():
        (folder / name).symlink_to(target)
    pairs = find_pairs(folder)
    assert {(folder / pair.image).resolve() for pair in pairs.found} == {
        archive / "ct_1.nii",
        archive / "2024" / "ct_2.nii",
        folder / "own" / "ct_3.nii",
    }
    assert len(pairs.found) == 3
    assert pairs.left_out == 0


def test_folders_in_which_there_may_be_cases_are_counted(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "data", ["ct_1.nii", "seg_1.nii", "closed/ct_2.nii"])
    (folder / "disk").symlink_to(tmp_path / "not-mounted")
    (folder / "around").symlink_to(tmp_path)
    (folder / "closed").chmod(0o000)
    with bound_by_modes():
        pairs = find_pairs(folder)
        (folder / "seg_1.nii").unlink()
        with pytest.raises(DataError, match="by name; 3 folders cannot be listed, or are links that lead nowhere"):
            find_pairs(folder)
    (folder / "closed").chmod(0o700)
    assert (len(pairs.found), pairs.left_out) == (1, 3)

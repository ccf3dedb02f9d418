import json
from dataclasses import replace
from pathlib import Path

import pytest

from fedgin.data.importers.label_ids import CHAOS_IDS, HVSMR_IDS
from fedgin.data.importers.paired_files import FOLDS, PairedFolder, write_paired_site
from fedgin.data.site import Modality, PngSlices, load_site
from fedgin.errors import DataError

CHAOS = PairedFolder(Modality.MR, CHAOS_IDS, "mr_*.nii.gz", training=2, validation=1)
PNG = PairedFolder(Modality.MR, HVSMR_IDS, "*_img.png", training=1, validation=1, png=PngSlices(pixel_mm=0.4))


def files(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


def test_every_volume_is_one_subject_and_in_one_split(tmp_path: Path) -> None:
    data = files(tmp_path / "data", *(f"{kind}_{number:02d}.nii.gz" for kind in ("mr", "seg") for number in range(5)))
    contract = load_site(write_paired_site(tmp_path / "mr-site", CHAOS, data, seed=3))
    assert (contract.site, contract.modality, contract.data_root) == ("mr-site", Modality.MR, data.resolve())
    splits = json.loads(contract.datalist.read_text())
    assert [len(splits[split]) for split in ("training", "validation", "test")] == [2, 1, 2]
    entries = [entry for split in splits.values() for entry in split]
    assert sorted(entry["image"] for entry in entries) == [f"mr_{number:02d}.nii.gz" for number in range(5)]
    assert all(entry["label"] == entry["image"].replace("mr_", "seg_") for entry in entries)


def test_folds_test_each_training_and_validation_subject_once_and_never_a_test_subject(tmp_path: Path) -> None:
    data = files(tmp_path / "data", *(f"{kind}_{number:02d}.nii.gz" for kind in ("mr", "seg") for number in range(9)))
    source = replace(CHAOS, training=5, validation=2)
    whole = json.loads(load_site(write_paired_site(tmp_path / "whole", source, data, seed=3)).datalist.read_text())
    tested: list[object] = []
    for fold in range(1, FOLDS + 1):
        contract = load_site(write_paired_site(tmp_path / f"fold-{fold}", source, data, seed=3, fold=fold))
        splits = json.loads(contract.datalist.read_text())
        assert len(splits["validation"]) == 1
        everyone = [entry["patient"] for split in splits.values() for entry in split]
        assert len(everyone) == len(set(everyone)) == 7
        assert not {entry["patient"] for entry in whole["test"]} & set(everyone)
        tested += [entry["patient"] for entry in splits["test"]]
    assert sorted(map(str, tested)) == sorted(entry["patient"] for entry in whole["training"] + whole["validation"])


def test_the_slices_of_a_patient_stay_together(tmp_path: Path) -> None:
    stems = [f"p{patient}_{number}" for patient in range(3) for number in range(2)]
    names = [f"{stem}_{kind}.png" for stem in stems for kind in ("img", "seg")]
    contract = load_site(write_paired_site(tmp_path / "mr-site", PNG, files(tmp_path / "data", *names), seed=3))
    splits = json.loads(contract.datalist.read_text())
    assert [{entry["patient"] for entry in split} for split in splits.values()] != [set()] * 3
    assert all(len(split) == 2 and len({entry["patient"] for entry in split}) == 1 for split in splits.values())
    assert contract.png == PNG.png


def test_a_folder_that_leaves_no_subject_for_the_test_is_refused(tmp_path: Path) -> None:
    data = files(tmp_path / "data", "mr_01.nii.gz", "mr_02.nii.gz", "mr_03.nii.gz")
    with pytest.raises(DataError, match=r"holds 3 subjects .* more than 3"):
        write_paired_site(tmp_path / "mr-site", CHAOS, data, seed=3)
    assert not (tmp_path / "mr-site").exists()

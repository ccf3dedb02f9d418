"""``fedgin site init``: a folder becomes a site that validates."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from fedgin.cli.site import site_app
from fedgin.data.datalist import Split, list_cases, read_datalist
from fedgin.data.importers.label_ids import CHAOS_IDS
from fedgin.data.site import load_site
from fedgin.data.validation import Severity, validate_site
from fedgin.errors import ConfigError
from tests.real_data import real_data
from tests.sites import AFFINE, make_volume


def init(*arguments: object) -> Result:
    return CliRunner().invoke(site_app, ["init", *map(str, arguments)])


def lay_out(folder: Path, cases: int = 5, modality: str = "CT") -> Path:
    for number in range(cases):
        for kind, voxels in zip(("imagesTr", "labelsTr"), make_volume(modality, number), strict=True):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), folder / kind / f"case_{number}.nii")
    return folder


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_folder_becomes_a_site_without_a_fault(tmp_path: Path, modality: str) -> None:
    folder = lay_out(tmp_path / "Hospital A", 10, modality)
    dataset = {"labels": {"0": "background", "1": "Liver", "2": "spleen", "9": "pancreas"}}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    result = init(folder)
    assert result.exit_code == 0, result.output
    contract = load_site(folder / "site.yaml")
    assert (contract.site, contract.modality, contract.labels) == ("Hospital-A", modality, {"liver": 1, "spleen": 2})
    validation = validate_site(contract)
    faults = {finding.code for finding in validation.findings if finding.severity is not Severity.PASS}
    assert faults == {"left_right"}  # these block organs lie mirrored
    assert len(validation.facts) == 10


def test_patients_are_drawn_by_seed_and_stay_together(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "data", 10)
    for path in sorted(folder.rglob("case_*.nii")):  # two frames of each of five patients
        number = int(path.stem.split("_")[1])
        path.rename(path.with_name(f"patient{number // 2}_frame{number % 2}.nii"))
    lists = []
    for run, seed in enumerate((1, 1, 2, 3)):
        assert init(folder, "--out", tmp_path / str(run), "--seed", seed).exit_code == 0
        datalist = read_datalist(tmp_path / str(run) / "datalist.json")
        assert [len(datalist.entries(split)) for split in Split] == [6, 2, 2]
        lists.append(datalist)
    assert lists[0] == lists[1]
    assert len({str(datalist) for datalist in lists}) > 1


def test_cases_that_the_folder_holds_out_are_never_trained_on(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "data", 6)
    for number, ending in {0: "Ts", 1: "Ts", 2: "Va"}.items():
        for kind in ("images", "labels"):
            (folder / f"{kind}{ending}").mkdir(exist_ok=True)
            name = f"case_{number}.nii"
            (folder / f"{kind}Tr" / name).rename(folder / f"{kind}{ending}" / name)
    assert init(folder).exit_code == 0
    datalist = read_datalist(folder / "datalist.json")
    lists = [sorted(entry.image.name for entry in datalist.entries(split)) for split in Split]
    assert lists == [["case_3.nii", "case_4.nii", "case_5.nii"], ["case_2.nii"], ["case_0.nii", "case_1.nii"]]


def test_cases_in_a_linked_archive_are_cases_and_folders_that_are_not_there_are_told(tmp_path: Path) -> None:
    lay_out(tmp_path / "archive", 5)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "abdomen").symlink_to(tmp_path / "archive")
    (folder / "heart").symlink_to(tmp_path / "not-mounted")
    result = init(folder)
    assert result.exit_code == 0, result.output
    assert "1 folders cannot be listed, or are links that lead nowhere" in result.output
    contract = load_site(folder / "site.yaml")
    assert sum(map(len, list_cases(contract).values())) == 5


@pytest.mark.parametrize("name", ["site.yaml", "datalist.json"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    folder = lay_out(tmp_path)
    (folder / name).write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    result = init(folder)
    assert f"{name} are there already" in str(result.exception)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_ids_without_a_name_are_drafted_and_told(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    result = init(folder)
    assert "name the ids 1, 2 under 'labels'" in result.output
    assert "organ_1 where id 1 is the liver" in (folder / "site.yaml").read_text()
    assert load_site(folder / "site.yaml").labels == {"organ_1": 1, "organ_2": 2}


def test_a_damaged_label_is_told_and_left_to_validation(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    (folder / "labelsTr" / "case_0.nii").write_bytes(b"damaged")
    result = init(folder)
    assert "1 labels cannot be read" in result.output
    assert sum(len(read_datalist(folder / "datalist.json").entries(split)) for split in Split) == 5


@pytest.mark.parametrize("name", ["Klinik Süd", "-x", "a" * 65, "../a"])
def test_a_name_that_no_site_may_have_is_refused_before_labels_are_read(tmp_path: Path, name: str) -> None:
    folder = lay_out(tmp_path)
    for path in (folder / "labelsTr").iterdir():
        path.write_bytes(b"damaged")
    result = init(folder, f"--site={name}")
    assert isinstance(result.exception, ConfigError), result.exception
    assert result.exception.problem.startswith("the draft of site.yaml: 'site'")
    assert not (folder / "site.yaml").exists()


@pytest.mark.parametrize("size", ["0", "-1", "nan", "1000"])
def test_a_pixel_size_that_no_picture_has_is_refused(tmp_path: Path, size: str) -> None:
    slices = real_data("heart_ct_slices")
    result = init(slices, "--out", tmp_path / "a", f"--pixel-mm={size}", "--modality", "CT")
    assert isinstance(result.exception, ConfigError), result.exception
    assert result.exception.problem.startswith("the draft of site.yaml: 'pixel_mm'")
    assert not (tmp_path / "a").exists()


def test_png_slices_need_what_they_do_not_say(tmp_path: Path) -> None:
    slices = real_data("heart_ct_slices")
    assert "give --pixel-mm and --modality" in str(init(slices, "--out", tmp_path / "a").exception)
    assert not (tmp_path / "a").exists()
    result = init(slices, "--out", tmp_path / "b", "--pixel-mm", 0.44, "--modality", "CT")
    assert result.exit_code == 0, result.output
    datalist = read_datalist(tmp_path / "b" / "datalist.json")
    patients = [{entry.patient for entry in datalist.entries(split)} for split in Split]
    assert [len(members) for members in patients] == [5, 1, 1]
    assert len(set.union(*patients)) == 7


def test_real_cases_are_paired_and_only_their_organs_have_to_be_named(tmp_path: Path) -> None:
    result = init(real_data("abdomen_mr"), "--out", tmp_path)
    assert "MR by its intensities" in result.output
    path = tmp_path / "site.yaml"
    values = yaml.safe_load(path.read_text())
    assert sorted(values["labels"].values()) == sorted(CHAOS_IDS.values())
    path.write_text(yaml.safe_dump(values | {"labels": CHAOS_IDS}))
    contract = load_site(path)
    assert contract.cache_dir.parent == tmp_path.resolve()
    listed = read_datalist(contract.datalist)
    assert all(str(entry.image)[-9:-7] == str(entry.label)[-9:-7] for entry in listed.training)
    assert np.all([(contract.data_root / entry.label).is_file() for entry in listed.training])

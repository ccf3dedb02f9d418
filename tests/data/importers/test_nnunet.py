"""nnU-Net's raw layout: both versions of its listing, test cases with and without labels, and what is missing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedgin.data.datalist import Split
from fedgin.data.dicom.rules import SplitRules
from fedgin.data.importers.archive_site import write_archive_sites
from fedgin.data.importers.nnunet import read_nnunet
from fedgin.data.site import Modality, load_site
from fedgin.data.validation import Severity, validate_site
from fedgin.errors import ConfigError, DataError
from tests.data.importers.miniature_archives import write_nnunet

CASES = [f"patient00{number}_frame0{frame}" for number in (1, 2, 3) for frame in (1, 2)]


def change_dataset(source: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((source / "dataset.json").read_text())
    change(values)
    (source / "dataset.json").write_text(json.dumps(values))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_frames_of_a_patient_stay_together_and_test_cases_are_tested(tmp_path: Path, ending: str) -> None:
    source = write_nnunet(tmp_path / "Dataset027", CASES, {"patient004_frame01": True, "patient005": False}, ending)
    archive = read_nnunet(source)
    assert archive.unlabelled == 1
    assert {case.patient for case in archive.cases} == {f"patient-00{number}" for number in (1, 2, 3, 4)}
    (site,) = write_archive_sites(archive, tmp_path / "sites", SplitRules(validation=1))
    assert site.contract.parent.name == "dataset027-mr"
    assert site.drawn == [Split.VALIDATION]
    assert [site.cases[split] for split in Split] == [4, 2, 1]
    found = validate_site(load_site(site.contract)).findings
    assert [finding for finding in found if finding.severity is not Severity.PASS] == []


def test_the_first_version_of_the_listing_is_read(tmp_path: Path) -> None:
    source = write_nnunet(tmp_path / "Task501", ["ct_1", "ct_2"])

    def as_first_version(values: dict[str, Any]) -> None:
        values["modality"] = values.pop("channel_names") | {"0": "CT"}
        values["labels"] = {str(number): name for name, number in values["labels"].items()}
        del values["file_ending"]

    change_dataset(source, as_first_version)
    archive = read_nnunet(source)
    assert archive.ids == {"liver": 1, "spleen": 2}
    assert {case.modality for case in archive.cases} == {Modality.CT}


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    source = write_nnunet(tmp_path / "Dataset001", ["a_1", "a_2", "a_3", "a_4"])
    (source / "imagesTr" / "a_1_0000.nii.gz").unlink()
    (source / "labelsTr" / "a_2.nii.gz").write_bytes(b"")
    for path in ("imagesTr/a_4_0000.nii.gz", "labelsTr/a_4.nii.gz"):
        (source / path).unlink()
    with pytest.raises(DataError) as caught:
        read_nnunet(source)
    for part in (
        "a_1: imagesTr/a_1_0000.nii.gz",
        "a_2: labelsTr/a_2.nii.gz",
        "dataset.json: 4 training cases by numTraining, of which 3 are there",
    ):
        assert part in str(caught.value)


def test_a_case_for_training_and_for_the_test_is_refused(tmp_path: Path) -> None:
    source = write_nnunet(tmp_path / "Dataset001", ["a_1", "a_2"])
    for folder, other in (("imagesTr", "imagesTs"), ("labelsTr", "labelsTs")):
        (source / other).mkdir()
        for path in (source / folder).glob("a_2*"):
            (source / other / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="a_2: only one of this name in imagesTr and imagesTs"):
        read_nnunet(source)


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def swap(values: dict[str, Any]) -> None:
    values["labels"] = {"background": 0, "spleen": 1, "liver": 2}


def test_another_dataset_of_that_name_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    first = write_nnunet(tmp_path / "a" / "raw", CASES)
    other = write_nnunet(tmp_path / "b" / "raw", ["mr_1", "mr_2"])
    write_archive_sites(read_nnunet(first), tmp_path / "sites", SplitRules())
    before = files_of(tmp_path / "sites")
    with pytest.raises(ConfigError, match="raw-mr in OUT is of another SOURCE, or") as caught:
        write_archive_sites(read_nnunet(other), tmp_path / "sites", SplitRules())
    assert files_of(tmp_path / "sites") == before
    assert str(tmp_path) not in str(caught.value)
    assert not any(str(tmp_path).encode() in content for content in before.values()), "a path may name a patient"


def test_a_dataset_that_numbers_its_organs_anew_is_refused(tmp_path: Path) -> None:
    source = write_nnunet(tmp_path / "raw", CASES)
    write_archive_sites(read_nnunet(source), tmp_path / "sites", SplitRules())
    before = files_of(tmp_path / "sites")
    change_dataset(source, swap)
    with pytest.raises(ConfigError, match=r"site\.yaml of raw-mr in OUT has other ids than SOURCE for liver, spleen"):
        write_archive_sites(read_nnunet(source), tmp_path / "sites", SplitRules())
    assert files_of(tmp_path / "sites") == before


def test_a_dataset_that_names_its_organs_anew_is_refused(tmp_path: Path) -> None:
    source = write_nnunet(tmp_path / "raw", CASES)
    write_archive_sites(read_nnunet(source), tmp_path / "sites", SplitRules())
    change_dataset(source, lambda values: values.update(labels={"background": 0, "stomach": 1, "spleen": 2}))
    with pytest.raises(ConfigError, match=r"dataset\.json named other organs"):
        write_archive_sites(read_nnunet(source), tmp_path / "sites", SplitRules())


def test_a_site_whose_organs_an_engineer_renamed_or_joined_is_continued(tmp_path: Path) -> None:
    source = write_nnunet(tmp_path / "raw", CASES)
    (site,) = write_archive_sites(read_nnunet(source), tmp_path / "sites", SplitRules())
    text = site.contract.read_text().replace("liver: 1", "liver: [1, 3]").replace("spleen: 2", "milt: 2")
    site.contract.write_text(text)
    write_archive_sites(read_nnunet(source), tmp_path / "sites", SplitRules())
    assert site.contract.read_text() == text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values.update(file_ending=".png"), r"end in '\.png'"),
        (lambda values: values["labels"].update(whole=[1, 2]), "such as regions"),
        (lambda values: values["labels"].update(ignore=3), "'ignore' label"),
        (lambda values: values["channel_names"].update({"1": "T2"}), "has 2 channels"),
    ],
)
def test_what_this_package_does_not_train_on_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    source = write_nnunet(tmp_path / "Dataset001", ["a_1", "a_2"])
    change_dataset(source, change)
    with pytest.raises(DataError, match=said):
        read_nnunet(source)

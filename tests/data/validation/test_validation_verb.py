"""``fedgin site validate``: exit codes, files, and real CT and MR."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fedgin.cli.site import site_app
from fedgin.data.importers.label_ids import BTCV_IDS, CHAOS_IDS
from fedgin.data.importers.paired_files import PairedFolder, write_paired_site
from fedgin.data.site import Modality, load_site
from fedgin.data.validation import Severity, Validation, validate_site
from fedgin.data.validation.page import write_page
from fedgin.data.validation.record import default_folder, read_record, validate_noting_inputs, write_record
from fedgin.data.validation.site_key import load_key
from fedgin.folders import FolderError
from tests.data.validation.small_site import SmallSite
from tests.data.validation.test_validation_faults import few_cases, missing
from tests.real_data import real_data


def run(site: SmallSite, *options: str) -> Result:
    return CliRunner().invoke(site_app, ["validate", str(site.save()), *options])


def test_the_exit_code_is_the_worst_finding(tmp_path: Path) -> None:
    assert run(SmallSite(tmp_path / "good")).exit_code == 0
    worse = SmallSite(tmp_path / "worse")
    few_cases(worse)
    assert run(worse).exit_code == 1
    missing(worse)
    assert run(worse).exit_code == 2


def test_json_goes_to_standard_output_alone(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    missing(site)
    printed = json.loads(run(site, "--format", "json").stdout)
    assert printed["verdict"] == "FAIL"
    assert printed["findings"][0]["code"] == "file_missing"
    assert printed["findings"][0]["case"] == "training case 1"


def test_text_names_each_fix_and_the_files(tmp_path: Path) -> None:
    site = SmallSite(tmp_path / "data")
    missing(site)
    text = " ".join(run(site, "--out", str(tmp_path / "out")).stdout.split())
    assert "Fix: restore it or take the case out of the datalist" in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("validation.html", "validation.json", "fingerprint.json", "site.key")
    }


def test_the_record_notices_changed_data(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    run(site)
    contract = load_site(tmp_path / "site.yaml")
    folder = default_folder(contract)
    record = read_record(folder, contract)
    assert record is not None
    assert (record.verdict, record.cases, record.is_current) == (Severity.PASS, 5, True)
    site.change("image", lambda image: image + 1)
    changed = read_record(folder, contract)
    assert changed is not None
    assert not changed.is_current
    (folder / "validation.json").write_text("{}")
    assert read_record(folder, contract) is None


@pytest.mark.parametrize("part", ["image", "datalist"])
def test_what_changes_during_a_validation_was_not_validated(tmp_path: Path, part: str) -> None:
    site = SmallSite(tmp_path)
    contract = load_site(site.save())
    folder = default_folder(contract)

    def change(done: int, _: int) -> None:
        if done == 3 and part == "image":
            site.change("image", lambda image: image + 1)
        elif done == 3:
            contract.datalist.write_text(contract.datalist.read_text() + "\n")

    validation, inputs = validate_noting_inputs(contract, load_key(folder), progress=change)
    assert [finding.code for finding in validation.findings][:2] == ["changed_meanwhile", "files"]
    assert validation.verdict is Severity.WARN
    write_record(folder, validation, inputs)
    record = read_record(folder, contract)
    assert record is not None
    assert not record.is_current


def test_a_folder_that_cannot_be_had_is_told_before_any_case_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = SmallSite(tmp_path / "site")
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("fedgin.data.validation.record.validate_site", None)
    for out in ("file", "file/below"):
        done = run(site, "--out", str(tmp_path / out))
        assert isinstance(done.exception, FolderError)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    missing(site)
    write_page(tmp_path / "page.html", validate_site(load_site(site.save())))
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img") == 4
    assert page.count("data:image/jpeg;base64,") == 4
    assert "http" not in page
    assert "no picture" in page


def validate_real(folder: Path, modality: str, name: str, organs: dict[str, int]) -> Validation:
    """Validate three training and two validation cases of a real set."""
    source = PairedFolder(Modality(modality), organs, f"{modality.lower()}_*.nii.gz", training=3, validation=2)
    write_paired_site(folder, source, real_data(name), seed=1)
    datalist = json.loads((folder / "datalist.json").read_text())
    (folder / "datalist.json").write_text(json.dumps(datalist | {"test": []}))
    return validate_site(load_site(folder / "site.yaml"))


@pytest.mark.parametrize(
    ("modality", "name", "organs"), [("CT", "abdomen_ct", BTCV_IDS), ("MR", "abdomen_mr", CHAOS_IDS)], ids=["CT", "MR"]
)
def test_real_cases_are_found_right(tmp_path: Path, modality: str, name: str, organs: dict[str, int]) -> None:
    validation = validate_real(tmp_path, modality, name, organs)
    codes = {finding.code for finding in validation.findings if finding.severity is not Severity.PASS}
    assert codes <= {"organ_absent"}
    for case in validation.facts:
        assert case.label is not None
        assert 900 < case.label.organ_ml["liver"] < 2600
        assert case.label.organ_right_mm["liver"] > case.label.organ_right_mm["spleen"]


def test_a_real_set_under_the_wrong_modality_fails_in_each_case(tmp_path: Path) -> None:
    validation = validate_real(tmp_path, "MR", "abdomen_mr", CHAOS_IDS)
    as_ct = validation.contract.model_copy(update={"modality": Modality.CT})
    codes = [finding.code for finding in validate_site(as_ct).findings]
    assert codes.count("wrong_modality") == 5

"""AMOS22's layout: read, split into CT and MR; and refused with all that is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedgin.data.datalist import Split, read_datalist
from fedgin.data.dicom.rules import SplitRules
from fedgin.data.importers.amos22 import read_amos22
from fedgin.data.importers.archive_site import ArchiveSite, write_archive_sites
from fedgin.data.importers.label_ids import AMOS22_IDS
from fedgin.data.organs import ORGANS
from fedgin.data.site import Modality, load_site
from fedgin.data.validation import Severity, validate_site
from fedgin.errors import DataError, FedginError
from tests.data.importers.miniature_archives import save, write_amos22


def bring_in(source: Path, out: Path) -> list[ArchiveSite]:
    return write_archive_sites(read_amos22(source), out, SplitRules(seed=42))


def change_dataset(source: Path, change: Callable[[dict[str, Any]], object]) -> None:
    dataset = json.loads((source / "dataset.json").read_text())
    change(dataset)
    (source / "dataset.json").write_text(json.dumps(dataset))


def test_every_organ_is_known() -> None:
    assert AMOS22_IDS.keys() <= ORGANS.keys()
    assert sorted(AMOS22_IDS.values()) == list(range(1, 16))


def test_ct_and_mr_become_two_sites_without_a_fault(tmp_path: Path) -> None:
    source = write_amos22(tmp_path / "amos22", [1, 2, 3, 500, 501, 502, 507, 600], [9, 10, 509, 510], [11, 511])
    archive = read_amos22(source)
    sites = write_archive_sites(archive, tmp_path / "sites", SplitRules())
    assert archive.unlabelled == 2
    assert [site.contract.parent.name for site in sites] == ["amos22-ct", "amos22-mr"]
    for site, modality in zip(sites, Modality, strict=True):
        contract = load_site(site.contract)
        assert (contract.modality, contract.labels) == (modality, {"spleen": 1, "liver": 6})
        assert site.drawn == [Split.TEST], "the archive's test labels are secret"
        assert [site.cases[split] for split in Split] == [3, 2, 1]
        held = {entry.patient for entry in read_datalist(contract.datalist).validation}
        assert held == ({"amos_0009", "amos_0010"} if modality is Modality.CT else {"amos_0509", "amos_0510"})
        found = validate_site(contract).findings
        assert [finding for finding in found if finding.severity is not Severity.PASS] == []
    image = sites[0].contract.parent / "images" / "amos_0500.nii.gz"
    assert image.readlink() == (source / "imagesTr" / "amos_0500.nii.gz").resolve()


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    source = write_amos22(tmp_path / "amos22", [1, 2, 3], [9], [11])
    (source / "imagesTr" / "amos_0001.nii.gz").unlink()
    (source / "labelsTr" / "amos_0002.nii.gz").write_bytes(b"")
    (source / "labelsVa" / "amos_0009.nii.gz").unlink()
    with pytest.raises(DataError) as caught:
        bring_in(source, tmp_path / "sites")
    for part in (
        "lacks files of 3 cases",
        "amos_0001: ./imagesTr/amos_0001.nii.gz",
        "amos_0002: ./labelsTr/amos_0002.nii.gz",
        "amos_0009: ./labelsVa/amos_0009.nii.gz",
    ):
        assert part in str(caught.value)
    assert not (tmp_path / "sites").exists()


def test_a_damaged_label_is_said_and_the_same_run_continues(tmp_path: Path) -> None:
    source = write_amos22(tmp_path / "amos22", [1, 2, 3], [9], [])
    label = source / "labelsTr" / "amos_0002.nii.gz"
    whole = label.read_bytes()
    label.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="damaged files in 1 cases: amos_0002: the label file is not readable"):
        bring_in(source, tmp_path / "sites")
    assert not list((tmp_path / "sites").rglob("site.yaml"))
    label.write_bytes(whole)
    (site,) = bring_in(source, tmp_path / "sites")
    assert site.cases.total() == 4


def test_test_labels_that_somebody_has_are_used(tmp_path: Path) -> None:
    source = write_amos22(tmp_path / "amos22", [1, 2], [9], [11])
    (source / "labelsTs").mkdir()
    (source / "labelsTs" / "amos_0011.nii.gz").write_bytes((source / "labelsTr" / "amos_0001.nii.gz").read_bytes())
    (site,) = bring_in(source, tmp_path / "sites")
    assert site.drawn == []
    assert [site.cases[split] for split in Split] == [2, 1, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda dataset: dataset["labels"].update({"1": "liver", "6": "spleen"}),
            "other organs than AMOS22 does, at 1, 6",
        ),
        (lambda dataset: dataset["labels"].pop("15"), "other organs .*, at 15"),
        (lambda dataset: dataset["training"].append(dataset["validation"][0]), "amos_0009: only one entry"),
        (lambda dataset: dataset["training"][0].update(image="../amos_0001.nii.gz"), r"amos_0001: \.\./amos_0001"),
        (lambda dataset: dataset["training"][0].update(image="imagesTr/x.nii.gz"), "a name such as amos_0001"),
        (lambda dataset: dataset.pop("training"), "training"),
    ],
)
def test_a_wrong_listing_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str) -> None:
    source = write_amos22(tmp_path / "amos22", [1, 2], [9], [])
    save(tmp_path / "amos_0001.nii.gz", np.zeros((2, 2, 2)))
    change_dataset(source, change)
    with pytest.raises(FedginError, match=said):
        read_amos22(source)


def test_a_folder_without_a_listing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"SOURCE has no dataset\.json"):
        read_amos22(tmp_path)

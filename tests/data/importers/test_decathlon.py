"""The Decathlon's layout: listed files are read, and what is not there is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedgin.data.importers.decathlon import read_decathlon
from fedgin.data.site import Modality
from fedgin.errors import DataError, FedginError
from tests.data.importers.miniature_archives import write_decathlon


def task(tmp_path: Path) -> Path:
    return write_decathlon(tmp_path / "Task99_Abdomen", [1, 2, 3], [8, 9])


def test_organs_and_splits_are_what_the_listing_says(tmp_path: Path) -> None:
    archive = read_decathlon(task(tmp_path))
    assert (archive.name, archive.ids, archive.unlabelled) == ("task99-abdomen", {"liver": 1, "spleen": 2}, 2)
    assert (archive.cases[0].name, archive.cases[0].patient) == ("abdomen_1", "abdomen-1")
    assert {case.modality for case in archive.cases} == {Modality.CT}


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    source = task(tmp_path)
    (source / "imagesTr" / "abdomen_1.nii.gz").unlink()
    (source / "labelsTr" / "abdomen_3.nii.gz").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_decathlon(source)
    assert "abdomen_1: ./imagesTr/abdomen_1.nii.gz; abdomen_3: ./labelsTr/abdomen_3.nii.gz" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values.update(modality={"0": "T2", "1": "ADC"}), "has 2 channels"),
        (lambda values: values.update(modality={"0": "ultrasound"}), "neither CT nor MRI"),
        (lambda values: values["labels"].update({"3": "livers", "4": "liver"}), "names one organ twice"),
        (lambda values: values["labels"].update({"3": "4th", "300": "aorta"}), "cannot be used: 4th, aorta"),
        (lambda values: values["labels"].update({"aorta": "-3"}), "cannot be used: aorta"),
        (lambda values: values["labels"].update({"aorta": "three"}), "no single ids"),
        (lambda values: values["training"].append(values["training"][0]), "abdomen_1: only one entry"),
        (lambda values: values["training"][0].update(image="../abdomen_1.nii.gz"), r"abdomen_1: \.\./abdomen_1"),
        (lambda values: values.update(training=[]), "lists no case"),
        (lambda values: values.pop("labels"), "labels"),
    ],
)
def test_a_wrong_listing_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str) -> None:
    source = task(tmp_path)
    values = json.loads((source / "dataset.json").read_text())
    change(values)
    (source / "dataset.json").write_text(json.dumps(values))
    with pytest.raises(FedginError, match=said):
        read_decathlon(source)


def test_a_folder_without_a_listing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"SOURCE has no dataset\.json"):
        read_decathlon(tmp_path)

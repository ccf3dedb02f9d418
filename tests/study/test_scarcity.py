import json
from pathlib import Path

import pytest

from fedgin.data.datalist import Split, list_cases
from fedgin.data.site import Modality, SiteContract, load_site
from fedgin.errors import ConfigError
from fedgin.study.scarcity import with_training_patients
from tests.sites import write_site


def contracts(folder: Path, **counts: int) -> list[SiteContract]:
    found = []
    for name, count in counts.items():
        modality = "CT" if name.startswith("ct") else "MR"
        found.append(load_site(write_site(folder / name, name, modality, counts=(count, 1, 1))))
    return found


def test_patients_are_shared_among_the_sites_of_a_modality(tmp_path: Path) -> None:
    few = with_training_patients(contracts(tmp_path, ct1=3, ct2=3, mr=2), {Modality.CT: 3}, tmp_path / "few")
    counts = {contract.site: len(list_cases(contract)[Split.TRAINING]) for contract in few}
    assert counts == {"ct1": 2, "ct2": 1, "mr": 2}


def test_other_splits_stay(tmp_path: Path) -> None:
    whole = contracts(tmp_path, mr=3)
    few = with_training_patients(whole, {Modality.MR: 1}, tmp_path / "few")
    for split in (Split.VALIDATION, Split.TEST):
        assert list_cases(few[0])[split] == list_cases(whole[0])[split]


def test_all_slices_of_a_chosen_patient_stay_together(tmp_path: Path) -> None:
    contract = contracts(tmp_path, mr=4)[0]
    splits = json.loads(contract.datalist.read_text())
    for entry, patient in zip(splits["training"], ("x", "y", "x", "y"), strict=True):
        entry["patient"] = patient
    contract.datalist.write_text(json.dumps(splits))
    few = with_training_patients([contract], {Modality.MR: 1}, tmp_path / "few")[0]
    kept = json.loads(few.datalist.read_text())["training"]
    assert [entry["patient"] for entry in kept] == ["x", "x"]


def test_too_many_or_too_few_are_refused(tmp_path: Path) -> None:
    sites = contracts(tmp_path, ct1=2, ct2=2)
    with pytest.raises(ConfigError, match="2 training patients, 3"):
        with_training_patients(sites, {Modality.CT: 6}, tmp_path / "few")
    with pytest.raises(ConfigError, match="1 CT patients for 2 sites"):
        with_training_patients(sites, {Modality.CT: 1}, tmp_path / "few")

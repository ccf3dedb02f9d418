import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgin.data.datalist import Split, list_cases
from fedgin.data.site import Modality, SiteContract, load_site
from fedgin.errors import ConfigError
from fedgin.study.scarcity import _shared, in_ratio, with_training_patients
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


def test_what_a_site_has_not_is_shared_among_the_others(tmp_path: Path) -> None:
    sites = contracts(tmp_path, ct1=5, ct2=1, ct3=4, mr=2)
    few = with_training_patients(sites, in_ratio(sites, 4), tmp_path / "few", key="ct_per_mr")
    counts = {contract.site: len(list_cases(contract)[Split.TRAINING]) for contract in few}
    assert counts == {"ct1": 4, "ct2": 1, "ct3": 3, "mr": 2}


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.data())
def test_shares_are_as_even_as_sites_have_patients(there: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(len(there), sum(there)))
    shares = _shared({str(site): patients for site, patients in enumerate(there)}, Modality.CT, count, "key")
    found = list(shares.values())
    assert sum(found) == count
    assert all(1 <= share <= patients for share, patients in zip(found, there, strict=True))
    # Only who gives all can have less than another, by more than the one that is left over.
    assert all(share >= max(found) - 1 for share, patients in zip(found, there, strict=True) if share < patients)


@pytest.mark.parametrize(("ratio", "wanted"), [(1, (3, 3)), (2, (6, 3)), (4, (8, 2))])
def test_a_ratio_takes_as_many_patients_as_there_are(tmp_path: Path, ratio: int, wanted: tuple[int, int]) -> None:
    found = in_ratio(contracts(tmp_path, ct1=5, ct2=5, mr=3), ratio)
    assert (found[Modality.CT], found[Modality.MR]) == wanted


def test_a_ratio_that_leaves_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 CT and 3 MR patients are too few for 5 CT for each MR"):
        in_ratio(contracts(tmp_path, ct=2, mr=3), 5)


def test_a_site_that_is_only_tested_has_no_share(tmp_path: Path) -> None:
    sites = contracts(tmp_path, ct1=3, ct2=0, mr=2)
    few = with_training_patients(sites, {Modality.CT: 2}, tmp_path / "few")
    counts = {contract.site: len(list_cases(contract)[Split.TRAINING]) for contract in few}
    assert counts == {"ct1": 2, "ct2": 0, "mr": 2}


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


def test_too_many_or_too_few_are_refused_with_the_key_that_asks_for_them(tmp_path: Path) -> None:
    sites = contracts(tmp_path, ct1=2, ct2=2, mr=1)
    with pytest.raises(ConfigError, match="the CT sites have 4 training patients, 6 are asked for") as caught:
        with_training_patients(sites, {Modality.CT: 6}, tmp_path / "few")
    assert caught.value.fix == "lower 'training_patients' in study.yaml"
    with pytest.raises(ConfigError, match="1 CT patients for 2 sites") as caught:
        with_training_patients(sites, in_ratio(sites, 1), tmp_path / "few", key="ct_per_mr")
    assert caught.value.fix == "change 'ct_per_mr' in study.yaml so that every site has at least one"

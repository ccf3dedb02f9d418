"""Sites with fewer training patients, for studies of scarcity; validation and test cases stay as they are."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedgin.data.datalist import Entry, Split, read_datalist
from fedgin.data.site import Modality, SiteContract
from fedgin.errors import ConfigError
from fedgin.files import write_text


def with_training_patients(
    contracts: Sequence[SiteContract], wanted: Mapping[Modality, int], folder: Path, *, key: str = "training_patients"
) -> list[SiteContract]:
    """Return contracts whose datalists name the first so many training patients of each modality.

    Args:
        contracts: the contracts of all sites.
        wanted: patients by modality, shared among its sites as evenly as they have them; other modalities keep all of
            theirs.
        folder: where the shorter datalists are written.
        key: of ``study.yaml`` that asks for so many.

    Raises:
        ConfigError: a site would train with no patient, or all sites together have fewer.
    """
    shares: dict[str, int] = {}
    for modality, count in wanted.items():
        there = {each.site: len(_training_patients(each)) for each in contracts if each.modality is modality}
        shares |= _shared({site: patients for site, patients in there.items() if patients}, modality, count, key)
    return [
        _shortened(contract, shares[contract.site], folder) if contract.site in shares else contract
        for contract in contracts
    ]


def in_ratio(contracts: Sequence[SiteContract], ct_per_mr: int, *, without: str = "") -> dict[Modality, int]:
    """Return how many patients of each modality train: ``ct_per_mr`` CT for each MR, as many as there can be.

    Args:
        contracts: of the sites that train.
        ct_per_mr: the ratio.
        without: the site that was left out of them; empty for none.

    Raises:
        ConfigError: there are fewer CT patients than that.
    """
    there = dict.fromkeys(Modality, 0)
    for contract in contracts:
        there[contract.modality] += len(_training_patients(contract))
    mr = min(there[Modality.MR], there[Modality.CT] // ct_per_mr)
    if not mr:
        left = f"without {without} " if without else ""
        raise ConfigError(
            f"{left}{there[Modality.CT]} CT and {there[Modality.MR]} MR patients are too few for {ct_per_mr} CT for "
            "each MR",
            "take 'ct_per_mr' out of the block with 'leave_one_site_out', or add patients"
            if without
            else "lower 'ct_per_mr' in study.yaml, or add patients",
        )
    return {Modality.CT: mr * ct_per_mr, Modality.MR: mr}


def trains(contract: SiteContract) -> bool:
    """Tell whether a site has training cases; one with test cases alone is only tested."""
    return bool(read_datalist(contract.datalist).training)


def _training_patients(contract: SiteContract) -> list[str]:
    """Return the training patients, once each."""
    training = read_datalist(contract.datalist).training
    return list(dict.fromkeys(entry.patient or f"entry {number}" for number, entry in enumerate(training)))


def _shared(there: Mapping[str, int], modality: Modality, count: int, key: str) -> dict[str, int]:
    """Deal so many patients to the sites in turn; who has no more is left out of the later turns."""
    if len(there) > count:
        raise ConfigError(
            f"{count} {modality} patients for {len(there)} sites",
            f"change '{key}' in study.yaml so that every site has at least one",
        )
    if sum(there.values()) < count:
        raise ConfigError(
            f"the {modality} sites have {sum(there.values())} training patients, {count} are asked for",
            f"lower '{key}' in study.yaml",
        )
    shares = dict.fromkeys(there, 0)
    while left := count - sum(shares.values()):
        for site in [site for site in there if shares[site] < there[site]][:left]:
            shares[site] += 1
    return shares


def _shortened(contract: SiteContract, patients: int, folder: Path) -> SiteContract:
    datalist = read_datalist(contract.datalist)
    keys = [entry.patient or f"entry {number}" for number, entry in enumerate(datalist.training)]
    chosen = _training_patients(contract)[:patients]
    kept = [entry for key, entry in zip(keys, datalist.training, strict=True) if key in chosen]
    return _with_datalist(
        contract, {"training": kept, "validation": datalist.validation, "test": datalist.test}, folder
    )


def with_first_cases(contract: SiteContract, folder: Path) -> SiteContract:
    """Return a contract whose datalist names the first case of each split, and whose cache is in ``folder`` too."""
    datalist = read_datalist(contract.datalist)
    first = {split.value: datalist.entries(split)[:1] for split in Split}
    found = _with_datalist(contract, first, folder)
    return found.model_copy(update={"cache_dir": folder.resolve() / f"{contract.site}-cache"})


def _with_datalist(contract: SiteContract, splits: Mapping[str, Sequence[Entry]], folder: Path) -> SiteContract:
    path = folder / f"{contract.site}.json"
    write_text(path, json.dumps({split: [_plain(entry) for entry in entries] for split, entries in splits.items()}))
    return contract.model_copy(update={"datalist": path.resolve()})


def _plain(entry: Entry) -> dict[str, str | None]:
    return entry.model_dump(mode="json")

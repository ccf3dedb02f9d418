"""Sites with fewer training patients, for studies of scarcity; validation and test cases stay as they are."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedgin.data.datalist import Entry, read_datalist
from fedgin.data.site import Modality, SiteContract
from fedgin.errors import ConfigError
from fedgin.files import write_text


def with_training_patients(
    contracts: Sequence[SiteContract], wanted: Mapping[Modality, int], folder: Path
) -> list[SiteContract]:
    """Return contracts whose datalists name the first so many training patients of each modality.

    Args:
        contracts: the contracts of all sites.
        wanted: patients by modality, shared among its sites as evenly as can be; other modalities keep all of theirs.
        folder: where the shorter datalists are written.

    Raises:
        ConfigError: a site would train with no patient, or has fewer than its share.
    """
    shares = {name: share for modality, count in wanted.items() for name, share in _share(contracts, modality, count)}
    return [
        _shortened(contract, shares[contract.site], folder) if contract.site in shares else contract
        for contract in contracts
    ]


def _share(contracts: Sequence[SiteContract], modality: Modality, count: int) -> list[tuple[str, int]]:
    names = [contract.site for contract in contracts if contract.modality is modality]
    if len(names) > count:
        raise ConfigError(f"{count} {modality} patients for {len(names)} sites", "give every site at least one")
    return [(name, count // len(names) + (place < count % len(names))) for place, name in enumerate(names)]


def _shortened(contract: SiteContract, patients: int, folder: Path) -> SiteContract:
    datalist = read_datalist(contract.datalist)
    keys = [entry.patient or f"entry {number}" for number, entry in enumerate(datalist.training)]
    chosen = list(dict.fromkeys(keys))[:patients]
    if len(chosen) < patients:
        raise ConfigError(
            f"site {contract.site} has {len(chosen)} training patients, {patients} are asked for",
            "lower 'training_patients' in study.yaml",
        )
    kept = [entry for key, entry in zip(keys, datalist.training, strict=True) if key in chosen]
    path = folder / f"{contract.site}.json"
    splits = {"training": kept, "validation": datalist.validation, "test": datalist.test}
    write_text(path, json.dumps({split: [_plain(entry) for entry in entries] for split, entries in splits.items()}))
    return contract.model_copy(update={"datalist": path.resolve()})


def _plain(entry: Entry) -> dict[str, str | None]:
    return entry.model_dump(mode="json")

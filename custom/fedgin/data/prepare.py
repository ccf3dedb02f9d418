"""From a site contract to cases that can be trained on: checked, preprocessed and cached."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from fedgin.data.cache import CachedCase, CaseCache
from fedgin.data.datalist import Case, Split, list_cases
from fedgin.data.preprocessing_settings import Preprocessing
from fedgin.data.site import SiteContract
from fedgin.errors import ConfigError, DataError

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SiteData:
    """A site with its cached cases.

    Attributes:
        contract: the site's ``site.yaml``.
        cases: the cases by split, in the order of the datalist.
    """

    contract: SiteContract
    cases: dict[Split, list[CachedCase]]

    @property
    def training_slices(self) -> int:
        """Number of slices that the site trains on."""
        return sum(len(case.shown) for case in self.cases[Split.TRAINING])


def prepare_site(
    contract: SiteContract,
    preprocessing: Preprocessing,
    organs: Sequence[str],
    *,
    splits: Collection[Split] = tuple(Split),
    progress: Progress = lambda done, total: None,
    named_only: bool = False,
) -> SiteData:
    """Check and preprocess the cases of a site; what is cached already is not computed again.

    Args:
        contract: the site.
        preprocessing: the preprocessing of the experiment.
        organs: the organs of the experiment.
        splits: of which the cases are needed; by default all.
        progress: called with the number of cases done and of all.
        named_only: whether nothing is computed, so that files of the cases may not be there; their names are right.

    Raises:
        ConfigError: the site labels none of the organs.
        DataError: a case that cannot be right, or no case to train on or to validate with, where these are needed.
        LimitError: the cache folder would hold more than the site allows.
    """
    if not set(organs) & contract.labels.keys():
        raise ConfigError(
            f"site {contract.site} labels none of {', '.join(organs)}",
            "add them to 'labels' in site.yaml, by these names",
        )
    cache = CaseCache(contract.cache_dir, preprocessing, organs, most=contract.limits.cache_gb * 1e9)
    cases = {split: members for split, members in list_cases(contract).items() if split in splits}
    _refuse_missing_splits(contract, cases)
    total, done = sum(len(members) for members in cases.values()), 0
    prepared: dict[Split, list[CachedCase]] = {split: [] for split in Split}
    for split, members in cases.items():
        for case in members:
            prepared[split].append(cache.name(case) if named_only else cache.get(case))
            done += 1
            progress(done, total)
    return SiteData(contract, prepared)


def _refuse_missing_splits(contract: SiteContract, cases: Mapping[Split, Sequence[Case]]) -> None:
    """Raise :class:`DataError` for each split without a case, but not for test, which may be empty."""
    missing = [split for split, members in cases.items() if not members and split is not Split.TEST]
    if missing:
        raise DataError(
            f"site {contract.site} has no {' and no '.join(missing)} case, and a job that trains needs some",
            f"list cases under {' and '.join(repr(str(split)) for split in missing)} in the datalist",
        )


def choose_device(contract: SiteContract) -> torch.device:
    """Return the device that the site allows, with its limits applied to this process.

    Raises:
        ConfigError: a GPU is asked for and there is none, or not that one.
    """
    if contract.limits.cpu_threads is not None:
        torch.set_num_threads(contract.limits.cpu_threads)
    if contract.device == "cpu" or (contract.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    device = torch.device("cuda" if contract.device == "auto" else contract.device)
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"site {contract.site}: 'device' is {contract.device}, but PyTorch sees {torch.cuda.device_count()} GPUs",
            "set 'device: auto' in site.yaml, or install the driver and a CUDA build of PyTorch",
        )
    torch.cuda.set_per_process_memory_fraction(contract.limits.gpu_memory_fraction, device)
    return device

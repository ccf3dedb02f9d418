"""What training takes from cached cases, slices and patches alike: an item is the same, whatever its number of axes."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from fedgin.data.cache import CachedCase


class Sample(Protocol):
    """A part of a case."""

    @property
    def case(self) -> CachedCase:
        """The case that it is of."""

    @property
    def slices(self) -> range:
        """The slices of the case that it shows."""

    def read(self, name: str) -> Tensor:
        """Read its ``image``, ``label`` or ``body`` from the cache, [*spatial]."""


class SampleDataset(Dataset[dict[str, Any]]):
    """Samples, each read from the cache when it is asked for, as channel-first images.

    Each item has ``image`` float32 [1, *spatial], ``label`` uint8 [1, *spatial], ``body`` bool [1, *spatial],
    ``labelled`` bool [classes]: which classes, background first, the sample's site labels, and ``modality``, ``CT`` or
    ``MR``.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one sample from the cache."""
        sample = self.samples[index]
        known = set(sample.case.labelled)
        return {
            **{name: sample.read(name)[None] for name in ("image", "label", "body")},
            "labelled": torch.tensor([True, *(organ in known for organ in sample.case.organs)]),
            "modality": sample.case.case.modality.value,
        }

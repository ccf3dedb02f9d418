"""Membership inference from a model's loss: was this case trained on? Scores, and how well they separate.

The attack is the loss threshold of Yeom et al. (CSF 2018): a model fits what it was trained on better than the rest.
Shadow models and the likelihood-ratio attack built on them (LiRA: Carlini et al., S&P 2022) know for each case which
loss to expect, and are stronger above all at low false-positive rates. They are not done here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedgin.data.cache import CachedCase
from fedgin.data.samples import SampleDataset
from fedgin.data.slices import slices_of
from fedgin.nets.dsbn import route
from fedgin.train.losses import MarginalLoss, Targets

# For each case the scores of its slices, or one score; higher says "trained on".
Scores = Sequence[NDArray[np.float64]]

RESAMPLES = 2000
FALSE_POSITIVES = 0.1


@dataclass(frozen=True)
class Separation:
    """How well scores tell members from others.

    Attributes:
        auc: probability that a random member scores above a random other, ties counting half; 0.5 is a guess.
        low: lower end of its 95 % bootstrap interval, percentile method, cases resampled with all their slices.
        high: upper end.
        tpr: share of the members found at a threshold that takes at most a tenth of the others for members.
    """

    auc: float
    low: float
    high: float
    tpr: float


def separation(members: Scores, others: Scores) -> Separation:
    """Compare the scores of members and others; see :class:`Separation`."""
    wins = np.array([[_wins(member, other) for other in others] for member in members])
    sizes = [np.array([len(scores) for scores in group], dtype=np.float64) for group in (members, others)]
    rng = np.random.default_rng(0)
    drawn = [rng.multinomial(len(n), np.full(len(n), 1 / len(n)), RESAMPLES).astype(np.float64) for n in sizes]
    pairs = (drawn[0] @ sizes[0]) * (drawn[1] @ sizes[1])
    low, high = np.quantile(np.einsum("bi,ij,bj->b", drawn[0], wins, drawn[1]) / pairs, (0.025, 0.975))
    threshold = np.quantile(np.concatenate(others), 1 - FALSE_POSITIVES, method="higher")
    found = np.concatenate(members) > threshold
    return Separation(
        float(wins.sum() / (sizes[0].sum() * sizes[1].sum())), float(low), float(high), float(found.mean())
    )


def _wins(member: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the Mann-Whitney U of two samples."""
    gap = member[:, None] - other[None, :]
    return float((gap > 0).sum() + 0.5 * (gap == 0).sum())


def by_case(scores: Scores) -> list[NDArray[np.float64]]:
    """Return one score a case, the mean of its slices'."""
    return [case.mean(keepdims=True) for case in scores]


def losses(network: nn.Module, loss: MarginalLoss, cases: Sequence[CachedCase]) -> list[NDArray[np.float64]]:
    """Return for each case the loss of each slice that shows an organ, without augmentation, in evaluation mode."""
    network.eval()
    return [_case_losses(network, loss, case) for case in cases]


@torch.no_grad()
def _case_losses(network: nn.Module, loss: MarginalLoss, case: CachedCase) -> NDArray[np.float64]:
    dataset = SampleDataset([entry for entry in slices_of([case]) if entry.shows])
    items = [dataset[place] for place in range(len(dataset))]
    route(network, [item["modality"] for item in items])
    logits = network(torch.stack([item["image"] for item in items]))
    targets = [Targets(item["label"][None].long(), item["labelled"][None]) for item in items]
    return np.array([float(loss(logits[i : i + 1], target)) for i, target in enumerate(targets)])


Attack = Callable[[Scores, Scores], list[NDArray[np.float64]]]


def low_loss(before: Scores, after: Scores) -> list[NDArray[np.float64]]:
    """Score a slice by how small the trained model's loss is (Yeom et al. 2018)."""
    return [-trained for trained in after]


def loss_drop(before: Scores, after: Scores) -> list[NDArray[np.float64]]:
    """Score a slice by how much lower the loss is than the received model's, so that easy slices count less."""
    return [received - trained for received, trained in zip(before, after, strict=True)]

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from torch import Tensor, nn

from benchmarks.attacks.membership import by_case, loss_drop, losses, low_loss, separation
from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.train.losses import build_loss
from tests.sites import tiny_experiment, write_site

Groups = st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=5), min_size=1, max_size=4)


class Memory(nn.Module):
    """Knows the labels of some cases by heart; to every other image it says background."""

    def __init__(self, cases: list[CachedCase], classes: int) -> None:
        super().__init__()
        self.known = [(case.read("image"), case.read("label")) for case in cases]
        self.classes = classes

    def forward(self, image: Tensor) -> Tensor:
        labels = torch.stack([self.recall(plane) for plane in image[:, 0]])
        return 20.0 * nn.functional.one_hot(labels.long(), self.classes).movedim(-1, 1).float()

    def recall(self, plane: Tensor) -> Tensor:
        for images, labels in self.known:
            for known, label in zip(images, labels, strict=True):
                if torch.equal(known, plane):
                    return label
        return torch.zeros_like(plane)


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[CachedCase], list[CachedCase]]:
    experiment = tiny_experiment()
    contract = load_site(write_site(tmp_path_factory.mktemp("site"), "site-1", counts=(4, 1, 4)))
    cases = prepare_site(contract, experiment.preprocessing, experiment.organs).cases
    return cases[Split.TRAINING], cases[Split.TEST]


def test_a_model_that_memorised_its_cases_gives_them_away(groups: tuple[list[CachedCase], list[CachedCase]]) -> None:
    members, others = groups
    experiment = tiny_experiment()
    loss, memory = build_loss(experiment.loss), Memory(members, experiment.classes)
    scores = [low_loss([], losses(memory, loss, group)) for group in (members, others)]
    found = separation(*scores)
    assert (found.auc, found.low, found.high, found.tpr) == (1.0, 1.0, 1.0, 1.0)


def test_an_untouched_model_gives_nothing_away(groups: tuple[list[CachedCase], list[CachedCase]]) -> None:
    experiment = tiny_experiment()
    loss, network = build_loss(experiment.loss), experiment.initial_network()
    before = [losses(network, loss, group) for group in groups]
    drops = [loss_drop(group, group) for group in before]
    assert separation(*drops).auc == 0.5
    found = separation(*[low_loss([], group) for group in before])
    assert found.low < 0.5 < found.high


def test_only_slices_with_an_organ_are_scored(groups: tuple[list[CachedCase], list[CachedCase]]) -> None:
    experiment = tiny_experiment()
    found = losses(experiment.initial_network(), build_loss(experiment.loss), groups[0])
    assert [len(case) for case in found] == [sum(map(bool, case.shown)) for case in groups[0]]


@given(members=Groups, others=Groups)
def test_the_area_is_mann_whitneys(members: list[list[int]], others: list[list[int]]) -> None:
    first, second = ([np.array(case, dtype=np.float64) for case in group] for group in (members, others))
    flat = np.concatenate(first), np.concatenate(second)
    found = separation(first, second)
    assert found.auc == pytest.approx(mannwhitneyu(*flat).statistic / (flat[0].size * flat[1].size))
    assert 0.0 <= found.low <= found.high <= 1.0
    assert separation(second, first).auc == pytest.approx(1.0 - found.auc)


def test_at_most_a_tenth_of_the_others_is_taken_for_members() -> None:
    others = [np.arange(20.0)]
    assert separation([np.array([17.5, 18.5, 30.0, 0.0])], others).tpr == 0.5
    assert separation([np.full(4, 19.5)], [np.arange(5.0), np.array([20.0])]).tpr == 0.0


def test_one_score_a_case_is_the_mean() -> None:
    assert [case.tolist() for case in by_case([np.array([1.0, 3.0]), np.array([5.0])])] == [[2.0], [5.0]]


def test_cases_are_resampled_with_their_slices() -> None:
    """Two cases of many equal slices are two observations, not a hundred."""
    found = separation([np.full(50, 0.0), np.full(50, 2.0)], [np.full(50, 1.0)])
    assert (found.auc, found.low, found.high) == (0.5, 0.0, 1.0)

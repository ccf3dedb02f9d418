import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import DiceMetric
from torch import nn

from fedgin.data.cache import CachedCase, CaseCache
from fedgin.nets.dsbn import DomainBatchNorm
from fedgin.train.evaluate import inference
from fedgin.train.evaluate.evaluator import Segmentation, evaluate, score, segment
from tests.sites import ORGANS, make_case, make_volume, tiny_experiment

CPU = torch.device("cpu")


class Oracle(nn.Module):
    """Answers with the label of the slice it is shown, by looking the image up."""

    def __init__(self, case: CachedCase) -> None:
        super().__init__()
        self.images, self.labels = case.read("image"), case.read("label")

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        found = [int((self.images - entry[0]).abs().flatten(1).sum(1).argmin()) for entry in image]
        return 50.0 * nn.functional.one_hot(self.labels[found].long(), 3).permute(0, 3, 1, 2).float()


def prepared(folder: Path, label: np.ndarray | None = None, organs: list[str] = ORGANS) -> CachedCase:
    image, truth = make_volume("CT", 0)
    fine = tiny_experiment().preprocessing.model_copy(update={"spacing_mm": 4.0, "size": (96, 96)})
    return CaseCache(folder / "cache", fine, organs).get(make_case(folder, image, truth if label is None else label))


def test_a_network_that_knows_the_answer_scores_nearly_one(tmp_path: Path) -> None:
    case = prepared(tmp_path)
    scores = {entry.organ: entry for entry in evaluate(Oracle(case), [case], CPU, in_one_piece=())}
    assert scores["liver"].dice > 0.97
    assert scores["spleen"].dice > 0.95
    voxels = int((make_volume("CT", 0)[1] == 1).sum())
    assert scores["liver"].reference_ml == pytest.approx(voxels * 8 * 8 * 5 / 1000)


def test_slices_are_put_together_in_their_order(tmp_path: Path) -> None:
    """More than ten slices: a lexical order would put slice 10 before slice 2."""
    image = np.concatenate([make_volume("CT", 0)[0]] * 3, axis=2) + np.arange(18, dtype=np.float32)
    label = np.zeros(image.shape, np.uint8)
    for position in range(18):
        label[8 : 10 + position, 10:20, position] = 1
    case_file = make_case(tmp_path, image, label)
    case = CaseCache(
        tmp_path / "c", tiny_experiment().preprocessing.model_copy(update={"spacing_mm": 4.0, "size": (96, 96)}), ORGANS
    ).get(case_file)
    assert evaluate(Oracle(case), [case], CPU, in_one_piece=())[0].dice > 0.97


@pytest.fixture(scope="module")
def shared_case(tmp_path_factory: pytest.TempPathFactory) -> CachedCase:
    return prepared(tmp_path_factory.mktemp("case"))


def segmentation(case: CachedCase, predicted: np.ndarray, reference: np.ndarray) -> Segmentation:
    return Segmentation(case, predicted.astype(np.uint8), reference.astype(np.uint8), 0.5, (5.0, 10.0, 10.0))


@pytest.mark.parametrize(
    ("predicted", "reference", "dice"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], math.nan),
        ([1, 0, 0, 0], [0, 0, 0, 0], math.nan),
        ([0, 0, 0, 0], [1, 1, 0, 0], 0.0),
        ([1, 1, 0, 0], [1, 1, 0, 0], 1.0),
        ([1, 1, 1, 0], [0, 1, 1, 1], 2 / 3),
    ],
)
def test_dice_has_its_closed_form(tmp_path: Path, predicted: list[int], reference: list[int], dice: float) -> None:
    case = prepared(tmp_path)
    liver, spleen = score(segmentation(case, np.array(predicted), np.array(reference)))
    assert liver.dice == pytest.approx(dice, nan_ok=True)
    assert liver.predicted_ml == pytest.approx(sum(predicted) * 0.5)
    assert math.isnan(spleen.dice)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), orders=st.tuples(st.sampled_from("CF"), st.sampled_from("CF")))
def test_dice_is_that_of_monai_in_whatever_order_voxels_lie(
    shared_case: CachedCase, seed: int, orders: tuple[str, str]
) -> None:
    rng = np.random.default_rng(seed)
    predicted, reference = (rng.integers(0, 3, (4, 5, 6)) * (rng.random((4, 5, 6)) < 0.3) for _ in range(2))
    laid = [
        np.asfortranarray(part) if order == "F" else part
        for part, order in zip((predicted, reference), orders, strict=True)
    ]
    scores = score(segmentation(shared_case, *laid))
    one_hot = [nn.functional.one_hot(torch.from_numpy(part), 3).movedim(-1, 0)[None] for part in (predicted, reference)]
    theirs = DiceMetric(include_background=False, ignore_empty=True)(*one_hot)[0]
    np.testing.assert_allclose([entry.dice for entry in scores], theirs, rtol=1e-6)
    assert scores[0].reference_ml == pytest.approx((reference == 1).sum() * 0.5)


def test_an_organ_the_site_does_not_label_is_not_scored(tmp_path: Path) -> None:
    case = prepared(tmp_path, organs=["liver", "pancreas"])
    voxels = np.array([1, 2, 2, 2])
    assert [entry.organ for entry in score(segmentation(case, voxels, voxels))] == ["liver"]


def test_cases_are_handed_on_one_by_one(tmp_path: Path) -> None:
    case = prepared(tmp_path)
    seen: list[int] = []
    segment(Oracle(case), [case, case], CPU, lambda _: seen.append(1), in_one_piece=(), stop=lambda: len(seen) == 1)
    assert len(seen) <= 2


def test_each_case_is_segmented_with_the_normalisation_of_its_modality(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The branch of CT answers liver everywhere and that of MR spleen; the last batch of a volume is smaller."""
    monkeypatch.setattr(inference, "PIXELS_AT_ONCE", 4 * 24 * 24)
    layer = DomainBatchNorm(2, 3)
    network = nn.Sequential(nn.Conv2d(1, 3, 1), layer)
    for modality, organ in (("CT", 1), ("MR", 2)):
        branch = {"weight": torch.zeros(3), "bias": nn.functional.one_hot(torch.tensor(organ), 3).float()}
        layer.branches[modality].load_state_dict(branch, strict=False)
    cases = [
        CaseCache(tmp_path / modality / "cache", tiny_experiment().preprocessing, ORGANS).get(
            make_case(tmp_path / modality, *make_volume(modality, 0), modality)
        )
        for modality in ("MR", "CT", "MR")
    ]
    found: list[set[int]] = []
    segment(
        network,
        cases,
        CPU,
        lambda result: found.append(set(np.unique(result.predicted).tolist()) - {0}),
        in_one_piece=(),
    )
    assert found == [{2}, {1}, {2}]

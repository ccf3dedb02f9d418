"""Segment whole cases and score them in 3D on the grid of the original image, with MONAI's evaluator."""

import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from numpy.typing import NDArray
from torch import Tensor, nn

from fedgin.data.cache import CachedCase
from fedgin.data.regions import keep_largest_regions
from fedgin.data.volumes import map_organs, read_label, with_axes_of
from fedgin.train.evaluate.inference import CaseInferer, Segmented
from fedgin.train.evaluate.scores import CaseScore
from fedgin.train.evaluate.surface_metrics import SurfaceScore, compare_surfaces

_NOT_COMPARED = SurfaceScore(math.nan, math.nan)


@dataclass(frozen=True)
class Segmentation:
    """The prediction for one case, on the image's own grid.

    Attributes:
        case: the case.
        predicted: uint8 [X, Y, Z], organ positions plus 1.
        reference: the same, of the label file.
        voxel_ml: volume of a voxel in millilitres.
        spacing_mm: size of a voxel along X, Y and Z.
    """

    case: CachedCase
    predicted: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    voxel_ml: float
    spacing_mm: tuple[float, float, float]


def evaluate(
    network: nn.Module,
    cases: Sequence[CachedCase],
    device: torch.device,
    *,
    in_one_piece: Collection[int],
    surfaces: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> list[CaseScore]:
    """Score a network on whole cases; one score for each organ that the case's site labels.

    The network is put into evaluation mode for the time, no image is augmented and no weight or statistic changes.

    Args:
        network: maps slices [B, 1, X, Y] or patches [B, 1, D, X, Y] to logits.
        cases: one is in memory at a time.
        device: where to compute.
        in_one_piece: class numbers of the organs of which the largest region is kept alone; ``in_one_piece`` of the
            network's experiment.
        surfaces: whether surfaces are compared too, which takes longer than the Dice.
        stop: asked before each case; once it says true, the scores so far are returned.
    """
    scores: list[CaseScore] = []

    def receive(segmentation: Segmentation) -> None:
        scores.extend(score(segmentation, surfaces=surfaces))

    segment(network, cases, device, receive, in_one_piece=in_one_piece, stop=stop)
    return scores


def segment(
    network: nn.Module,
    cases: Sequence[CachedCase],
    device: torch.device,
    receive: Callable[[Segmentation], None],
    *,
    in_one_piece: Collection[int],
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Predict whole cases and hand each on as soon as it is done; see :func:`evaluate`."""
    if not cases:
        return
    training = network.training
    inferer = CaseInferer(cases[0].window, device)
    engine = SupervisedEvaluator(
        device=device,
        val_data_loader=_CaseVolumes(cases),
        epoch_length=len(cases),
        network=network.to(device),
        inferer=inferer,
        prepare_batch=_stay_on_the_cpu,
        decollate=False,
    )
    engine.logger.setLevel(logging.CRITICAL)

    def before_case(evaluator: Engine) -> None:
        if stop():
            evaluator.terminate()
        case = cases[evaluator.state.iteration - 1]
        inferer.case = Segmented(case.case.modality.value, case.affine, case.native)

    def after_case(evaluator: Engine) -> None:
        case = cases[evaluator.state.iteration - 1]
        receive(_finish(case, evaluator.state.output["pred"][0], in_one_piece))

    engine.add_event_handler(Events.ITERATION_STARTED, before_case)
    engine.add_event_handler(Events.ITERATION_COMPLETED, after_case)
    try:
        engine.run()
    finally:
        network.train(training)


def _stay_on_the_cpu(batch: Mapping[str, Tensor], *_: Any, **__: Any) -> tuple[Tensor, None]:
    return batch["image"], None


def score(segmentation: Segmentation, *, surfaces: bool = False) -> list[CaseScore]:
    """Compute the scores of each organ that the case's site labels."""
    case = segmentation.case
    counts = _count_pairs(segmentation.predicted, segmentation.reference, len(case.organs) + 1)
    return [
        _score_organ(segmentation, position, counts, surfaces)
        for position, organ in enumerate(case.organs, start=1)
        if organ in case.labelled
    ]


def _score_organ(segmentation: Segmentation, position: int, counts: NDArray[np.int64], surfaces: bool) -> CaseScore:
    case = segmentation.case.case
    compared = _compare(segmentation, position) if surfaces else _NOT_COMPARED
    both, predicted, reference = counts[position, position], counts[position].sum(), counts[:, position].sum()
    return CaseScore(
        site=case.site,
        modality=case.modality.value,
        split=case.split.value,
        case=case.number,
        subject=case.subject,
        organ=segmentation.case.organs[position - 1],
        dice=float(2.0 * both / (predicted + reference)) if reference else math.nan,
        reference_ml=float(reference) * segmentation.voxel_ml,
        predicted_ml=float(predicted) * segmentation.voxel_ml,
        hd95_mm=compared.hd95_mm,
        surface_dice=compared.surface_dice,
    )


class _CaseVolumes:
    """The cases one after the other, each as a batch of one volume [1, 1, D, X, Y]; ignite walks it anew each run."""

    def __init__(self, cases: Sequence[CachedCase]) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for case in self.cases:
            yield {"image": case.read("image")[None, None]}


def _finish(case: CachedCase, labels: Tensor, in_one_piece: Collection[int]) -> Segmentation:
    predicted = torch.as_tensor(labels).numpy()
    keep_largest_regions(predicted, in_one_piece)
    label = with_axes_of(case.native.affine, read_label(case.case))
    return Segmentation(
        case=case,
        predicted=predicted,
        reference=map_organs(case.case, label, list(case.organs)),
        voxel_ml=label.voxel_ml,
        spacing_mm=tuple(label.spacing.tolist()),
    )


def _compare(segmentation: Segmentation, position: int) -> SurfaceScore:
    predicted, reference = segmentation.predicted == position, segmentation.reference == position
    return compare_surfaces(predicted, reference, segmentation.spacing_mm)


def _count_pairs(predicted: NDArray[np.uint8], reference: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Count the voxels of each pair of classes, [predicted, reference], in one pass; those of background in both are 0.

    Both are walked as they lie in memory, which is one order for what comes from NIfTI.
    """
    found, stated = (labels.T.ravel() for labels in (predicted, reference))
    used = np.flatnonzero(found | stated)
    pairs = found[used].astype(np.intp) * classes + stated[used]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

"""Whether a mean over mirrored views, or another modality's statistics with DSBN, helps on validation cases."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from fedgin.data.cache import CachedCase, CaseCache
from fedgin.data.datalist import Split, list_cases
from fedgin.data.native_labels import to_native_labels
from fedgin.data.site import load_site
from fedgin.data.volumes import map_organs, read_label, with_axes_of
from fedgin.deploy.bundle import load_bundle
from fedgin.nets.dsbn import MODALITIES
from fedgin.train.evaluate.evaluator import Segmentation, score
from fedgin.train.evaluate.inference import CaseInferer, Segmented
from fedgin.train.experiment import Experiment

OTHER_SIDE = {"left": "right", "right": "left"}


def main(
    bundle: Annotated[Path, typer.Argument(help="Bundle of 'fedgin export' with a network of slices.")],
    site: Annotated[list[Path], typer.Argument(help="site.yaml; the validation cases are measured.")],
) -> None:
    """Print the mean Dice of organs for each way to segment, by modality. Example: see docs/clinic.md."""
    opened = load_bundle(bundle)
    network, experiment = opened.network(), opened.experiment
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        cache = CaseCache(Path(scratch), experiment.preprocessing, experiment.organs)
        for case in [case for path in site for case in list_cases(load_site(path))[Split.VALIDATION]]:
            cached = cache.get(case)
            for name, probabilities in _ways(network, experiment, cached):
                found.setdefault(name, {}).setdefault(case.modality, []).append(_dice(cached, probabilities))
    table = Table("way", *MODALITIES)
    for name, by_modality in found.items():
        values = [by_modality.get(modality, []) for modality in MODALITIES]
        table.add_row(name, *(f"{np.mean(dice):.3f} ({len(dice)} cases)" if dice else "-" for dice in values))
    Console().print(table)


def _ways(network: nn.Module, experiment: Experiment, case: CachedCase) -> Iterator[tuple[str, Tensor]]:
    inferer = CaseInferer(experiment.preprocessing.network_size, torch.device("cpu"))

    def compute(image: Tensor, modality: str) -> Tensor:
        inferer.case = Segmented(modality, case.affine, case.native)
        with torch.inference_mode():
            return torch.cat(list(inferer.probabilities(image, network)), dim=1)

    image, own = case.read("image"), case.case.modality.value
    if experiment.network.normalisation == "dsbn":
        yield from ((f"statistics of {modality}", compute(image, modality)) for modality in MODALITIES)
        return
    plain = compute(image, own)
    swapped = [0, *(1 + experiment.organs.index(_other_side(organ)) for organ in experiment.organs)]
    mirrored = compute(image.flip(1), own).flip(2)
    yield "one view", plain
    yield "mean with the view mirrored left to right", (plain + mirrored) / 2
    yield "the same, left and right organs exchanged", (plain + mirrored[swapped]) / 2
    yield "mean with the view mirrored front to back", (plain + compute(image.flip(2), own).flip(3)) / 2


def _other_side(organ: str) -> str:
    side, _, rest = organ.partition("_")
    return f"{OTHER_SIDE[side]}_{rest}" if side in OTHER_SIDE else organ


def _dice(case: CachedCase, probabilities: Tensor) -> float:
    label = with_axes_of(case.native.affine, read_label(case.case))
    predicted = to_native_labels(probabilities, case.affine, case.native)
    reference = map_organs(case.case, label, list(case.organs))
    scores = score(Segmentation(case, predicted, reference, label.voxel_ml, (1.0, 1.0, 1.0)))
    return float(np.nanmean([item.dice for item in scores]))


if __name__ == "__main__":
    typer.run(main)

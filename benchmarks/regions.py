"""What the Dice of a trained network gains where only the largest region of an organ is kept: not for test cases.

    python -m benchmarks.regions runs/base_fold_1/arms/federated-wide-all-seed42 runs/real_abdomen_fold_1

The network is that of a study's arm. Each case is segmented once and scored twice: as the network has it, and with the
largest region of each organ alone.
"""

import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.regions import keep_largest_regions
from fedgin.data.site import load_site
from fedgin.train.checkpoint import load_checkpoint, load_weights
from fedgin.train.evaluate.evaluator import Segmentation, score, segment
from fedgin.train.provenance import read_provenance

CPU = torch.device("cpu")


def main(
    arm: Annotated[Path, typer.Argument(help="Folder of a complete arm of a study, or of a run.")],
    sites: Annotated[Path, typer.Argument(help="Folder of sites; their test and validation cases are scored.")],
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Score all cases both ways. Example: python -m benchmarks.regions runs/study/arms/ARM runs/real_abdomen_fold_1"""
    torch.set_num_threads(threads)
    provenance = read_provenance(arm)
    network = provenance.experiment.initial_network()
    load_weights(network, load_checkpoint(arm / provenance.model, "model")["model"], source=arm.name)
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for contract in map(load_site, sorted(sites.glob("*/site.yaml"))):
        settings = provenance.experiment
        cases = prepare_site(contract, settings.preprocessing, settings.organs).cases
        shown = [case for split in (Split.TEST, Split.VALIDATION) for case in cases[split]]
        segment(network, shown, CPU, lambda result: _score_both(result, found), in_one_piece=())
    _print(arm.name, found)


def _score_both(result: Segmentation, found: dict[tuple[str, str], list[tuple[float, float]]]) -> None:
    kept = result.predicted.copy(order="K")
    keep_largest_regions(kept, range(1, len(result.case.organs) + 1))
    for plain, largest in zip(score(result), score(replace(result, predicted=kept)), strict=True):
        if not math.isnan(plain.dice):
            found[plain.modality, plain.organ].append((plain.dice, largest.dice))


def _print(title: str, found: dict[tuple[str, str], list[tuple[float, float]]]) -> None:
    table = Table("modality", "organ", "cases", "as found", "largest region", "better", "worse", title=title)
    for (modality, organ), pairs in found.items():
        plain, largest = (fmean(each) for each in zip(*pairs, strict=True))
        better, worse = (sum(sign * (after - before) > 0 for before, after in pairs) for sign in (1, -1))
        table.add_row(modality, organ, str(len(pairs)), f"{plain:.3f}", f"{largest:.3f}", str(better), str(worse))
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)

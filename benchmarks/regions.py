"""What the Dice of trained networks gains where only the largest region of an organ is kept: not for test cases.

    python -m benchmarks.regions runs/base_fold_1/arms/federated-* --sites runs/real_abdomen_fold_1

The networks are those of a study's arms. Each case is segmented once and scored twice: as the network has it, and with
the largest region of each organ alone. Prints the means over the networks, and the smallest and largest change of one.
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
from rich.progress import track
from rich.table import Table

from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.regions import keep_largest_regions
from fedgin.data.site import load_site
from fedgin.train.checkpoint import load_checkpoint, load_weights
from fedgin.train.evaluate.evaluator import Segmentation, score, segment
from fedgin.train.provenance import read_provenance

CPU = torch.device("cpu")
# By modality and organ, of each case: the Dice as found, and of the largest region.
Pairs = dict[tuple[str, str], list[tuple[float, float]]]


def main(
    arms: Annotated[list[Path], typer.Argument(help="Folders of complete arms of a study, or of runs.")],
    sites: Annotated[Path, typer.Option(help="Folder of sites; their test and validation cases are scored.")],
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Score all cases both ways. Example: python -m benchmarks.regions runs/study/arms/ARM --sites runs/sites"""
    torch.set_num_threads(threads)
    found = [_measure(arm, sites) for arm in track(arms, "networks", transient=True)]
    table = Table("modality", "organ", "cases", "as found", "largest region", "change", "smallest, largest change")
    for key in found[0]:
        means = [[fmean(each) for each in zip(*pairs[key], strict=True)] for pairs in found]
        changes = [largest - plain for plain, largest in means]
        plain, largest = (fmean(each) for each in zip(*means, strict=True))
        limits = f"{min(changes):+.3f}, {max(changes):+.3f}"
        values = (f"{plain:.3f}", f"{largest:.3f}", f"{fmean(changes):+.3f}", limits)
        table.add_row(*key, str(len(found[0][key])), *values)
    Console(width=120).print(table)


def _measure(arm: Path, sites: Path) -> Pairs:
    provenance, found = read_provenance(arm), defaultdict[tuple[str, str], list[tuple[float, float]]](list)
    experiment = provenance.experiment
    network = experiment.initial_network()
    load_weights(network, load_checkpoint(arm / provenance.model, "model")["model"], source=arm.name)
    for contract in map(load_site, sorted(sites.glob("*/site.yaml"))):
        cases = prepare_site(contract, experiment.preprocessing, experiment.organs).cases
        shown = [case for split in (Split.TEST, Split.VALIDATION) for case in cases[split]]
        segment(network, shown, CPU, lambda result: _score_both(result, found), in_one_piece=())
    return found


def _score_both(result: Segmentation, found: Pairs) -> None:
    kept = result.predicted.copy(order="K")
    keep_largest_regions(kept, range(1, len(result.case.organs) + 1))
    for plain, largest in zip(score(result), score(replace(result, predicted=kept)), strict=True):
        if not math.isnan(plain.dice):
            found[plain.modality, plain.organ].append((plain.dice, largest.dice))


if __name__ == "__main__":
    typer.run(main)

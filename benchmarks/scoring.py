"""CPU time of scoring a case, as after each round of training, beside the bare forward pass of the same network."""

import json
import math
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks._clock import best_of, peak_mb, run_with
from benchmarks.predict import forward
from fedgin.data.cache import CachedCase, CaseCache
from fedgin.data.datalist import Split, list_cases
from fedgin.data.site import load_site
from fedgin.deploy.bundle import load_bundle
from fedgin.train.evaluate.evaluator import evaluate

LIMIT = 1.6
SAME_DICE = 1e-6


def main(
    bundle: Annotated[Path, typer.Argument(help="Bundle of 'fedgin export'.")],
    site_yaml: Annotated[Path, typer.Argument(help="A site; its test cases are measured.")],
    repeats: Annotated[int, typer.Option(min=1, help="The best of this many runs counts.")] = 3,
    cases: Annotated[int, typer.Option(min=1, help="So many of them.")] = 3,
    before: Annotated[Path | None, typer.Option(help="Checkout of another version, measured in the same run.")] = None,
    as_json: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Score test cases without and with surfaces on one thread of the CPU, and hold the Dice against another version.

    Exit code 1 when a ratio without surfaces is above 1.6, or a Dice differs by more than 1e-6.

    Example: python -m benchmarks.scoring bundle hospital/site.yaml --before ../older-checkout
    """
    torch.set_num_threads(1)
    versions = {}
    if before:  # first: a process inherits the peak memory of the one that starts it
        places = [str(path.resolve()) for path in (bundle, site_yaml)]
        options = ["--repeats", str(repeats), "--cases", str(cases), "--as-json"]
        versions["before"] = json.loads(run_with(before, [*places, *options]))
    versions["now"] = _measure(bundle, site_yaml, repeats, cases)
    if as_json:
        print(json.dumps(versions["now"]))
        return
    table = Table("case", "version", "forward pass s", "scoring s", "ratio", "with surfaces s", "MB at the peak")
    for version, rows in versions.items():
        for number, row in enumerate(rows, start=1):
            times = [f"{row[name]:.2f}" for name in ("forward", "scoring", "ratio", "surfaces")]
            table.add_row(str(number), version, *times, f"{row['peak_mb']:.0f}")
    console = Console()
    console.print(table)
    parted = _largest_difference(*versions.values()) if before else 0.0
    if before:
        console.print(f"Largest difference of a Dice: {parted:.1e}")
    slow = max(row["ratio"] for row in versions["now"])
    raise typer.Exit(int(slow > LIMIT or parted > SAME_DICE))


def _measure(bundle: Path, site_yaml: Path, repeats: int, most: int) -> list[dict[str, Any]]:
    opened = load_bundle(bundle)
    network, experiment = opened.network(), opened.experiment
    device, rows = torch.device("cpu"), []
    scored = partial(evaluate, in_one_piece=experiment.in_one_piece)
    with tempfile.TemporaryDirectory() as scratch:
        cache = CaseCache(Path(scratch), experiment.preprocessing, experiment.organs)
        for case in list_cases(load_site(site_yaml))[Split.TEST][:most]:
            cached: CachedCase = cache.get(case)
            slices = cached.read("image")
            bare, scoring = best_of(
                repeats,
                lambda images=slices, of=case: forward(network, images, of.modality),  # type: ignore[misc]
                lambda of=cached: scored(network, [of], device),  # type: ignore[misc]
            )
            [surfaces] = best_of(1, lambda of=cached: scored(network, [of], device, surfaces=True))  # type: ignore[misc]
            dice = [score.dice for score in scored(network, [cached], device)]
            times = {"forward": bare, "scoring": scoring, "surfaces": surfaces, "ratio": scoring / bare}
            rows.append(times | {"peak_mb": peak_mb(), "dice": dice})
    return rows


def _largest_difference(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> float:
    pairs = [
        pair for one, other in zip(first, second, strict=True) for pair in zip(one["dice"], other["dice"], strict=True)
    ]
    return float(max(abs(one - other) for one, other in pairs if not math.isnan(one + other)))


if __name__ == "__main__":
    typer.run(main)

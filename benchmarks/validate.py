"""How long validation takes beside the plain read of the same files, and whether its memory grows with the cases.

    python -m benchmarks.validate hospital/site.yaml
    python -m benchmarks.validate            # phantoms, written to runs/benchmark_phantoms at the first call

Both are timed alternately in this process, after one untimed read that fills the disk cache; the best of the repeats
counts. Memory is the peak of a fresh process for each number of cases.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import nibabel
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from fedgin.data.datalist import Case, Split, list_cases
from fedgin.data.site import SiteContract, load_site
from fedgin.data.validation import validate_site
from fedgin.data.validation.fingerprint import build_fingerprint
from fedgin.data.validation.page import write_page
from fedgin.phantoms.site import demo_sites, write_site
from fedgin.phantoms.task import Task

GOAL = 1.5
MEMORY_CASES = (4, 12)
KEY = bytes(32)


def main(
    site_yaml: Annotated[Path | None, typer.Argument(help="A site. Default: the first phantom site.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Alternating runs of each.")] = 3,
    peak_of: Annotated[int, typer.Option(min=0, hidden=True)] = 0,
) -> None:
    """Print slices per second and peak memory. Example: python -m benchmarks.validate hospital/site.yaml"""
    path = site_yaml or _phantom_site()
    if peak_of:
        with tempfile.TemporaryDirectory() as scratch:
            _validate(_copies(load_site(path), peak_of, Path(scratch)))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    console = Console(highlight=False)
    console.print(_speed(path, repeats))
    console.print(_memory(path))


def _speed(path: Path, repeats: int) -> Table:
    contract = load_site(path)
    cases = [case for members in list_cases(contract).values() for case in members]
    slices = sum(_read(case) for case in cases)
    seconds = {"plain read (nibabel)": float("inf"), "fedgin site validate": float("inf")}
    for _ in range(repeats):
        work: dict[str, Callable[[], object]] = dict(
            zip(seconds, (lambda: [_read(case) for case in cases], lambda: _validate(contract)), strict=True)
        )
        for name, call in work.items():
            started = time.perf_counter()
            call()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    baseline = seconds["plain read (nibabel)"]
    table = Table("", "seconds", "slices/s", f"ratio (goal {GOAL})", title=f"{len(cases)} cases, {slices} slices")
    for name, spent in seconds.items():
        table.add_row(name, f"{spent:.2f}", f"{slices / spent:.0f}", f"{spent / baseline:.2f}")
    return table


def _memory(path: Path) -> Table:
    table = Table("cases", "peak MB", title="memory of validation")
    for count in MEMORY_CASES:
        command = [sys.executable, __file__, str(path), "--peak-of", str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        table.add_row(str(count), f"{float(done.stdout):.0f}")
    return table


def _read(case: Case) -> int:
    """Read image and label as a script would; return the number of slices."""
    voxels = np.asanyarray(nibabel.load(case.image).dataobj)
    np.asanyarray(nibabel.load(case.label).dataobj)
    return int(voxels.shape[2])


def _validate(contract: SiteContract) -> None:
    """Do all that the verb does."""
    with tempfile.TemporaryDirectory() as scratch:
        validation = validate_site(contract)
        build_fingerprint(validation, KEY)
        write_page(Path(scratch) / "page.html", validation)


def _copies(contract: SiteContract, count: int, folder: Path) -> SiteContract:
    """Return the site with ``count`` copies of its first case, so that only the number of cases differs."""
    case = list_cases(contract)[Split.TRAINING][0]
    entries = []
    for number in range(count):
        entries.append({"image": f"{number}_image.nii.gz", "label": f"{number}_label.nii.gz"})
        shutil.copy(case.image, folder / entries[-1]["image"])
        shutil.copy(case.label, folder / entries[-1]["label"])
    datalist = folder / "datalist.json"
    datalist.write_text(json.dumps({"training": entries[1:], "validation": entries[:1]}))
    return contract.model_copy(update={"data_root": folder, "datalist": datalist})


def _phantom_site() -> Path:
    return write_site(Path("runs/benchmark_phantoms"), demo_sites(Task.ABDOMEN, 42)[0])


if __name__ == "__main__":
    typer.run(main)

"""CPU time, peak memory and the same benchmark with another checkout of this package, for a before beside an after."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent


def cpu_seconds(step: Callable[[], object]) -> float:
    """Time a step; other work on the machine does not count."""
    start = time.process_time()
    step()
    return time.process_time() - start


def best_of(repeats: int, *steps: Callable[[], object]) -> list[float]:
    """Time steps in turns, so that a slow minute of the machine is one of all of them; return the best of each."""
    return [min(times) for times in zip(*([cpu_seconds(step) for step in steps] for _ in range(repeats)), strict=True)]


def peak_mb() -> float:
    """Return the largest memory that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_with(checkout: Path, arguments: Sequence[str]) -> str:
    """Run this very benchmark with the package of another checkout, and return what it prints."""
    places = os.pathsep.join(str(place) for place in (checkout.resolve() / "custom", ROOT))
    command = [sys.executable, "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *arguments]
    environment = {**os.environ, "PYTHONPATH": places}
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, env=environment).stdout

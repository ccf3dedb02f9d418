"""What a finished run left in FLARE's run folder of the server, and whether it may be called a success."""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from fedgin.errors import DataError


@dataclass(frozen=True)
class RoundMetrics:
    """What the sites reported with their updates of one round, about the model they had received.

    Attributes:
        number: the round, from 0.
        sites: metrics by site, such as ``val_dice_mean``.
    """

    number: int
    sites: Mapping[str, Mapping[str, float]]

    @property
    def dice(self) -> dict[str, float]:
        """Mean validation Dice by site; NaN where a site reported none, and FLARE leaves out NaN itself."""
        return {site: metrics.get("val_dice_mean", math.nan) for site, metrics in sorted(self.sites.items())}


@dataclass(frozen=True)
class RunResult:
    """A run folder of the server: the simulator's, or one that was downloaded.

    Attributes:
        folder: with ``app_server``, ``metrics`` and ``cross_site_val`` in it.
    """

    folder: Path

    @property
    def rounds(self) -> list[RoundMetrics]:
        """What FLARE's ``MetricsArtifactWriter`` has written so far; a line being written is left for later.

        Raises:
            DataError: a line is none of the writer's.
        """
        path = self.folder / "metrics" / "round_metrics.jsonl"
        if not path.is_file():
            return []
        lines = path.read_bytes().split(b"\n")[:-1]
        return [_parse_round(line, f"{path.name}, line {number}") for number, line in enumerate(lines, start=1)]

    @property
    def last_model(self) -> Path:
        """Checkpoint of the last round's global model."""
        return self.folder / "app_server" / "FL_global_model.pt"

    @property
    def best_model(self) -> Path:
        """Checkpoint of the global model with the best validation Dice among those that sites received."""
        return self.folder / "app_server" / "best_FL_global_model.pt"

    @property
    def cross_site(self) -> Path:
        """Cross-site evaluation: site -> model -> metrics, as JSON."""
        return self.folder / "cross_site_val" / "cross_val_results.json"

    def fault(self, *, rounds: int, sites: Collection[str]) -> str:
        """Say what keeps the run from being a success, or nothing.

        Args:
            rounds: that were to be done.
            sites: each of which must have answered in every round.

        Raises:
            DataError: metrics or cross-site evaluation are none of FLARE's.
        """
        done = self.rounds
        if len(done) != rounds:
            return f"{len(done)} of {rounds} rounds were completed"
        for metrics in done:
            absent = sorted(set(sites) - metrics.sites.keys())
            if absent:
                return f"site {absent[0]} sent nothing in round {metrics.number}"
        if not self.last_model.is_file():
            return "there is no global model"
        if not self.cross_site.is_file() or not read_cross_site(self.cross_site).keys() >= set(sites):
            return "not every site took part in the cross-site evaluation"
        return ""


def first_errors(log: Path) -> str:
    """Quote the first error lines of a log, each on a line of its own."""
    if not log.is_file():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [line.strip() for line in lines if " - ERROR - " in line or line.startswith(("Error", "Traceback"))]
    return "".join(f"\n  {line[:400]}" for line in found[:5])


def read_cross_site(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Read FLARE's cross-site evaluation: site -> model -> metrics, of which those that are numbers are kept.

    Raises:
        DataError: the file is missing or holds something else.
    """
    try:
        values = _parse(path.read_bytes())
        return {site: {model: numbers(metrics) for model, metrics in models.items()} for site, models in values.items()}
    except (OSError, ValueError, AttributeError, OverflowError):
        raise _not_from_flare(path.name) from None


def numbers(metrics: Mapping[str, object]) -> dict[str, float]:
    """Keep the metrics that are numbers: FLARE lets a site report words, too.

    Raises:
        OverflowError: a number is too large for a float.
    """
    return {str(name): float(value) for name, value in metrics.items() if isinstance(value, Real)}


def _parse_round(line: bytes, source: str) -> RoundMetrics:
    try:
        record = _parse(line)
        sites = {
            str(site["name"]): numbers({metric["name"]: metric["value"] for metric in site["metrics"]})
            for site in record["sites"]
        }
        return RoundMetrics(int(record["round"]), sites)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise _not_from_flare(source) from None


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _not_from_flare(source: str) -> DataError:
    return DataError(f"{source} is not what FLARE writes", "fetch the run's folder again, or run the job again")

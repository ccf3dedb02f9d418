"""What a finished run left in FLARE's run folder of the server, and whether it may be called a success."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedgin.flare.checkpoint import CHECKPOINT
from fedgin.flare.executor import SESSION


@dataclass(frozen=True)
class RoundMetrics:
    """What the sites reported with their updates of one round, about the model they had received.

    Attributes:
        number: the round, from 0.
        sites: metrics by site, such as ``val_dice_mean``.
    """

    number: int
    sites: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class RunResult:
    """A run folder of the server: the simulator's, or one that was downloaded.

    Attributes:
        folder: with ``app_server``, ``metrics`` and ``cross_site_val`` in it.
    """

    folder: Path

    @property
    def rounds(self) -> list[RoundMetrics]:
        """What FLARE's ``MetricsArtifactWriter`` has written so far; a line being written is left for later."""
        path = self.folder / "metrics" / "round_metrics.jsonl"
        if not path.is_file():
            return []
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return [_parse_round(json.loads(line)) for line in lines]

    @property
    def last_model(self) -> Path:
        """Checkpoint of the last round's global model."""
        return self.folder / "app_server" / "FL_global_model.pt"

    @property
    def best_model(self) -> Path:
        """Checkpoint of the global model with the best validation Dice among those that sites received."""
        return self.folder / "app_server" / "best_FL_global_model.pt"

    @property
    def checkpoint(self) -> Path:
        """The last complete round's global model, from which a job is resumed."""
        return self.folder / SESSION / CHECKPOINT

    @property
    def cross_site(self) -> Path:
        """Cross-site evaluation: site -> model -> metrics, as JSON."""
        return self.folder / "cross_site_val" / "cross_val_results.json"

    def fault(self, *, rounds: int, sites: Collection[str]) -> str:
        """Say what keeps the run from being a success, or nothing.

        Args:
            rounds: that were to be done.
            sites: each of which must have answered in every round.
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
        if not self.cross_site.is_file() or not set(json.loads(self.cross_site.read_text())) >= set(sites):
            return "not every site took part in the cross-site evaluation"
        return ""


def first_errors(log: Path) -> str:
    """Quote the first error lines of a log, each on a line of its own."""
    if not log.is_file():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [line.strip() for line in lines if " - ERROR - " in line or line.startswith(("Error", "Traceback"))]
    return "".join(f"\n  {line[:400]}" for line in found[:5])


def _parse_round(record: dict[str, object]) -> RoundMetrics:
    sites = record["sites"]
    assert isinstance(sites, list)
    named = {site["name"]: {metric["name"]: float(metric["value"]) for metric in site["metrics"]} for site in sites}
    return RoundMetrics(int(str(record["round"])), named)

"""Run the arms of a comparison one after the other and keep what each one measured; finished arms are not run again."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from fedgin.data.datalist import Split
from fedgin.data.prepare import SiteData, choose_device
from fedgin.errors import DataError
from fedgin.files import write_text
from fedgin.flare.run.results import read_cross_site
from fedgin.folders import FolderError, emptied_folder
from fedgin.study.arm_provenance import describe_arm
from fedgin.study.arms import Arm, Curve, PooledArm, local_layers_checkpoint
from fedgin.train.checkpoint import load_checkpoint, load_weights
from fedgin.train.evaluate.evaluator import evaluate
from fedgin.train.evaluate.scores import CaseScore, read_scores, write_scores
from fedgin.train.precision import precision_of
from fedgin.train.provenance import write_provenance

OnArmRound = Callable[[Arm, dict[str, float]], None]


@dataclass(frozen=True)
class ArmResult:
    """What an arm measured.

    Attributes:
        arm: the arm.
        scores: the scores of the last round's network on every test case of every site.
        curve: validation Dice by round (see :class:`~fedgin.study.arms.ArmOutcome`).
        model: checkpoint of the last round's network.
        cross_site: FLARE's cross-site evaluation (site -> model -> metrics); empty for local arms.
        resumed: the arm had been finished by an earlier run.
        precision: in which its sites computed; several where they differ, empty where nobody noted it.
    """

    arm: Arm
    scores: list[CaseScore]
    curve: Curve
    model: Path
    cross_site: dict[str, dict[str, dict[str, float]]]
    resumed: bool
    precision: str = ""


@dataclass(frozen=True)
class Comparison:
    """What a report is about.

    Attributes:
        title: headline.
        note: one sentence about the data, such as that they are phantoms.
        sites: the sites by name.
        results: one an arm, in the order to show.
        seconds: the run's duration so far; 0 when nothing was run anew.
    """

    title: str
    note: str
    sites: Mapping[str, SiteData]
    results: Sequence[ArmResult]
    seconds: float


def run_arm(arm: Arm, sites: Mapping[str, SiteData], folder: Path, on_round: OnArmRound) -> ArmResult:
    """Train and test one arm, or read its results when they are there already.

    Args:
        arm: what to run.
        sites: prepared with the arm's preprocessing and organs.
        folder: the folder of the comparison; the arm uses ``folder/NAME``.
        on_round: called after each validation.

    Raises:
        FolderError: there is a result of other settings or other cases.
        FedginError: what went wrong; the arm is run again by the next call.
    """
    home = folder / arm.name
    finished = read_result(arm, sites, folder)
    if finished is not None:
        return finished
    has_result(arm, sites, folder)
    _clear_another(home, _fingerprint(arm, sites))
    outcome = arm.train(sites, home, lambda point: on_round(arm, point))
    scores = _test(arm, sites, outcome.model)
    write_scores(home / "test_scores.csv", scores)
    write_provenance(home, describe_arm(arm, sites, scores))
    cross_site = read_cross_site(outcome.cross_site) if outcome.cross_site else {}
    precision = _precision(arm, sites)
    record = {
        "key": _fingerprint(arm, sites),
        "curve": outcome.curve,
        "cross_site": cross_site,
        "precision": precision,
    }
    # Written last: its presence says that everything else is complete.
    write_text(home / "result.json", json.dumps(record, indent=1))
    return ArmResult(arm, scores, outcome.curve, outcome.model, cross_site, resumed=False, precision=precision)


def _clear_another(home: Path, key: str) -> None:
    """Empty the folder unless what it holds is of the same arm, so that no run continues another one's checkpoint."""
    path = home / "key"
    if not path.is_file() or path.read_text(encoding="utf-8") != key:
        emptied_folder(home, "an arm of a comparison")
        write_text(path, key)


def read_result(arm: Arm, sites: Mapping[str, SiteData], folder: Path) -> ArmResult | None:
    """Return what an earlier run of the same arm on the same cases measured, or nothing."""
    home = folder / arm.name
    record = _read_record(home)
    if record is None or record["key"] != _fingerprint(arm, sites):
        return None
    scores = read_scores(home / "test_scores.csv")
    curve, model, cross_site = record["curve"], home / "model.pt", record["cross_site"]
    return ArmResult(arm, scores, curve, model, cross_site, resumed=True, precision=record.get("precision", ""))


def has_result(arm: Arm, sites: Mapping[str, SiteData], folder: Path) -> bool:
    """Tell whether an earlier run of the same arm on the same cases is complete.

    Args:
        arm: the arm.
        sites: prepared, or with their cases named only.
        folder: as of :func:`run_arm`.

    Raises:
        FolderError: what is there is the result of other settings or other cases; nobody has said that it may go.
    """
    home = folder / arm.name
    record = _read_record(home)
    if record is None:
        return False
    if record["key"] != _fingerprint(arm, sites):
        raise FolderError(f"{home} holds results of other settings or data", "give another --out, or delete it")
    return True


def _read_record(home: Path) -> dict[str, Any] | None:
    path = home / "result.json"
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def load_network(arm: Arm, model: Path, site: str) -> nn.Module:
    """Return the arm's network as a site uses it: the weights of ``model`` and, with FedBN, the site's own layers.

    Raises:
        WeightsError: the checkpoint is missing, damaged or of another network.
    """
    network = arm.experiment.initial_network()
    weights = load_checkpoint(model, "model")["model"]
    staying = local_layers_checkpoint(arm, model, site)
    if staying:
        weights = {**weights, **load_checkpoint(staying, "model")["model"]}
    load_weights(network, weights, source=f"arm {arm.name}")
    return network


def _test(arm: Arm, sites: Mapping[str, SiteData], model: Path) -> list[CaseScore]:
    scores: list[CaseScore] = []
    kept = arm.experiment.in_one_piece
    for name, site in sites.items():
        network, device = load_network(arm, model, name), choose_device(site.contract)
        scores += evaluate(network, site.cases[Split.TEST], device, in_one_piece=kept, surfaces=True)
    if not any(not math.isnan(score.dice) for score in scores):
        raise DataError("no site has a test case that shows an organ", "list test cases in the sites' datalists")
    return scores


def _precision(arm: Arm, sites: Mapping[str, SiteData]) -> str:
    amp = arm.experiment.training.amp
    devices = (choose_device(site.contract) for site in arm.members(sites).values())
    return ", ".join(sorted({precision_of(device, amp=amp) for device in devices}))


def _fingerprint(arm: Arm, sites: Mapping[str, SiteData]) -> str:
    """Hash everything that an arm's result depends on; cache file names already hash content and preprocessing."""
    parts = {
        "arm": type(arm).__name__,
        "rounds": arm.rounds,
        "experiment": arm.experiment.model_dump(mode="json"),
        "cases": {name: _case_keys(site) for name, site in sites.items()},
    }
    if isinstance(arm, PooledArm):
        parts["stream"] = arm.stream
    if arm.left_out:
        parts["left_out"] = arm.left_out
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _case_keys(site: SiteData) -> dict[str, list[str]]:
    return {split.value: [case.path.name for case in cases] for split, cases in site.cases.items()}

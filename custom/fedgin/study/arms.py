"""The arms of a comparison: different ways to get one network from the same sites with the same number of rounds."""

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split
from fedgin.data.prepare import SiteData, choose_device
from fedgin.data.site import Modality
from fedgin.errors import ConfigError
from fedgin.files import write_text
from fedgin.flare.jobs.job import Job
from fedgin.flare.run.results import RoundMetrics
from fedgin.flare.run.simulation import session_folder, simulate
from fedgin.train.checkpoint import averaged_weights, save_checkpoint
from fedgin.train.evaluate.evaluator import evaluate
from fedgin.train.evaluate.scores import mean_dice
from fedgin.train.experiment import Experiment
from fedgin.train.site.state import LOCAL_LAYERS
from fedgin.train.standalone import StandaloneRun, train_standalone
from fedgin.train.trainer import RoundResult

Curve = list[dict[str, float]]
OnRound = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class ArmOutcome:
    """What training an arm left behind.

    Attributes:
        model: checkpoint of the last round's network.
        curve: for each validation, ``round`` and the mean validation Dice by modality; a model after r rounds of
            training has round r.
        cross_site: FLARE's cross-site evaluation (site -> model -> metrics), for federated arms.
    """

    model: Path
    curve: Curve
    cross_site: Path | None = None


class Arm(ABC):
    """One way to train.

    Attributes:
        name: short and unique in a comparison; names the arm's folder.
        title: what a reader sees.
        experiment: settings that the arm trains with.
        rounds: the number of rounds.
        left_out: name of the site that neither trains nor validates; empty where all take part.
    """

    name: str
    title: str
    experiment: Experiment
    rounds: int
    left_out: str

    def members(self, sites: Mapping[str, SiteData]) -> dict[str, SiteData]:
        """Return the sites that train."""
        return {name: site for name, site in sites.items() if name != self.left_out and site.cases[Split.TRAINING]}

    @abstractmethod
    def train(self, sites: Mapping[str, SiteData], folder: Path, on_round: OnRound) -> ArmOutcome:
        """Train in ``folder``, which may hold what a killed run left; call ``on_round`` after each validation."""


@dataclass(frozen=True)
class FederatedArm(Arm):
    """A FLARE job in the simulator, every site a process of its own."""

    name: str
    title: str
    job: Job
    left_out: str = ""
    experiment: Experiment = field(init=False)
    rounds: int = field(init=False)

    def __post_init__(self) -> None:
        """Take experiment and rounds from the job."""
        object.__setattr__(self, "experiment", self.job.experiment)
        object.__setattr__(self, "rounds", self.job.rounds)

    def train(self, sites: Mapping[str, SiteData], folder: Path, on_round: OnRound) -> ArmOutcome:
        """Run the job; FLARE's simulator always starts from the first round."""
        members = self.members(sites)
        contracts = {name: site.contract for name, site in members.items()}
        curve: Curve = []

        def record(metrics: RoundMetrics) -> None:
            curve.append(_by_modality(metrics, members))
            on_round(curve[-1])

        result = simulate(self.job, contracts, folder / "flare", on_round=record)
        # A site reports the model that it receives; the last round's model is first measured after the rounds.
        record(result.final_metrics(self.job))
        model, cross_site = folder / "model.pt", folder / "cross_site.json"
        shutil.copyfile(result.last_model, model)
        shutil.copyfile(result.cross_site, cross_site)
        for site in members:
            staying = local_layers_checkpoint(self, model, site)
            if staying:
                shutil.copyfile(session_folder(folder / "flare", site) / LOCAL_LAYERS, staying)
        return ArmOutcome(model, curve, cross_site)


@dataclass(frozen=True)
class PooledArm(Arm):
    """Training data of some modalities in one place, no federation.

    With one modality it is the local baseline that such hospitals have today; with both it is centralised training,
    which sharing rules forbid and federated training is measured against. Slices are drawn as the pool has them,
    whatever their modality.

    Slices, spatial changes and dropout are drawn alike in all arms of the same modalities and seed, so that two methods
    differ in nothing but the method.

    Attributes:
        modalities: whose sites' training data is pooled; they name the random streams.
        validate_every: rounds from one validation to the next; the last round is always validated.
    """

    name: str
    title: str
    experiment: Experiment
    modalities: tuple[Modality, ...]
    rounds: int
    validate_every: int = 1
    left_out: str = ""

    @property
    def stream(self) -> str:
        """Name of the random streams; the arm's own name would hold its method."""
        return "+".join(self.modalities)

    def members(self, sites: Mapping[str, SiteData]) -> dict[str, SiteData]:
        """Return the sites whose training data is pooled."""
        found = super().members(sites)
        return {name: site for name, site in found.items() if site.contract.modality in self.modalities}

    def train(self, sites: Mapping[str, SiteData], folder: Path, on_round: OnRound) -> ArmOutcome:
        """Train round by round; a run that was cut off continues after its last complete round."""
        members = list(self.members(sites).values())
        absent = set(self.modalities) - {site.contract.modality for site in members}
        if absent:
            raise ConfigError(f"no site is {min(absent)}", f"add a {min(absent)} site")
        device = choose_device(members[0].contract)
        validated = super().members(sites)
        curve = _CurveFile(folder / "curve.json")

        def record(network: nn.Module, number: int, _: RoundResult) -> None:
            if (number + 1) % self.validate_every and number + 1 < self.rounds:
                return
            dice = {
                modality: mean_dice(evaluate(network, cases, device, in_one_piece=self.experiment.in_one_piece))
                for modality, cases in cases_by_modality(validated, Split.VALIDATION).items()
            }
            point = {"round": float(number + 1), **dice}
            curve.add(point)
            on_round(point)

        cases = [case for site in members for case in site.cases[Split.TRAINING]]
        run = StandaloneRun(self.stream, cases, self.rounds, folder / "alone.pt")
        network = train_standalone(self.experiment, run, device, after_round=record)
        save_checkpoint(folder / "model.pt", {"model": averaged_weights(network)})
        return ArmOutcome(folder / "model.pt", curve.points)


class _CurveFile:
    """A curve on disk, beside the checkpoint: a run that continues has the points from before it was cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.points: Curve = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    def add(self, point: dict[str, float]) -> None:
        # A run that is cut off between the two files does a round again, with the same result.
        self.points = [*(earlier for earlier in self.points if earlier["round"] < point["round"]), point]
        write_text(self.path, json.dumps(self.points))


def local_layers_checkpoint(arm: Arm, model: Path, site: str) -> Path | None:
    """Return the file of what a site kept to itself, ``local_layers_SITE.pt``; ``None`` where it kept nothing."""
    stays = isinstance(arm, FederatedArm) and arm.experiment.network.normalisation == "fedbn"
    return model.with_name(f"local_layers_{site}.pt") if stays else None


def cases_by_modality(sites: Mapping[str, SiteData], split: Split) -> dict[str, list[CachedCase]]:
    """Collect the cases of a split from all sites; modalities without a case are left out."""
    found: dict[str, list[CachedCase]] = {}
    for site in sites.values():
        if site.cases[split]:
            found.setdefault(site.contract.modality.value, []).extend(site.cases[split])
    return found


def _by_modality(metrics: RoundMetrics, sites: Mapping[str, SiteData]) -> dict[str, float]:
    """Average the sites' reported Dice by modality, each case counting the same."""
    found: dict[str, list[tuple[float, float]]] = {}
    for name, values in metrics.sites.items():
        modality = sites[name].contract.modality.value
        found.setdefault(modality, []).append((metrics.dice[name], values["val_cases"]))
    return {"round": float(metrics.number)} | {modality: _weighted(pairs) for modality, pairs in found.items()}


def _weighted(pairs: Sequence[tuple[float, float]]) -> float:
    return sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)

"""What a finished run left in FLARE's run folder of the server, and whether it may be called a success."""

import contextlib
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedgin.errors import DataError, WeightsError, one_line
from fedgin.flare.collection import FILE as COLLECTION
from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_modalities
from fedgin.flare.jobs.files import CONFIG
from fedgin.flare.jobs.job import Job
from fedgin.flare.organ_table import FILE as ORGAN_TABLE
from fedgin.flare.organ_table import OrganTable, read_table
from fedgin.flare.participation import RoundParticipation, read_participation
from fedgin.flare.protocol import DICE, EVALUATED, SERVER_MODEL, SESSION, numbers
from fedgin.flare.run.evaluation import find_evaluation_fault, read_scores
from fedgin.flare.server.round_metrics import FILE as ROUND_METRICS
from fedgin.train.evaluate.site_scores import SiteScores

# In a result's folder, beside the server's run folder: the job.
JOB = "job"
# Loggers of FLARE's transport: errors of a moment, as when our console asks for statistics before the job has any.
TRANSPORT = ("blob_streamer", "byte_receiver", "CoreCell")
# FLARE writes who, which run and which task in front of each message: 300 letters.
CONTEXT = re.compile(r"\[identity=[^\]]*\] - ")


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
        """Mean validation Dice by site; NaN where a site reported none; NaN itself is left out."""
        return {site: metrics.get(DICE, math.nan) for site, metrics in sorted(self.sites.items())}


@dataclass(frozen=True)
class RunResult:
    """A run folder of the server: the simulator's, or one that was downloaded.

    Attributes:
        folder: the folder with ``app_server``, ``metrics`` and ``cross_site_val`` in it.
    """

    folder: Path

    @property
    def rounds(self) -> list[RoundMetrics]:
        """What the server has written so far; a line being written is left for later.

        Raises:
            DataError: a line is none of the writer's.
        """
        path = self.folder / ROUND_METRICS
        if not path.is_file():
            return []
        lines = path.read_bytes().split(b"\n")[:-1]
        return [_parse_round(line, f"{path.name}, line {number}") for number, line in enumerate(lines, start=1)]

    @property
    def participation(self) -> list[RoundParticipation]:
        """Who took part in each round, also in one that ended the job."""
        return read_participation(self.folder)

    @property
    def organs(self) -> OrganTable | None:
        """Which site labels which organ; nothing before the sites have said so."""
        path = self.folder / ORGAN_TABLE
        try:
            return read_table(_parse(path.read_bytes()))
        except (OSError, ValueError):
            return None

    @property
    def last_model(self) -> Path:
        """Checkpoint of the last round's global model."""
        return self.folder / "app_server" / "FL_global_model.pt"

    @property
    def best_model(self) -> Path:
        """Checkpoint of the global model with the best validation Dice among those that sites received.

        FLARE chooses it by the plain mean over sites and never looks at the last model; see :attr:`chosen_model`.
        """
        return self.folder / "app_server" / "best_FL_global_model.pt"

    @property
    def candidates(self) -> dict[str, float]:
        """Validation Dice of the global models in the cross-site evaluation, by file name.

        Measured on their validation cases, after the last round, by those sites whose updates are in some average,
        also before the job was resumed; averaged over the sites of a modality, then over the modalities. A model of
        which one of them reports no Dice between 0 and 1 is no candidate, and none is where the checkpoint that names
        the sites before the job was resumed is damaged.
        """
        try:
            modality = self._modalities()
        except WeightsError:
            return {}
        measured = {site: models for site, models in self._measured().items() if site in modality}
        models = {model for models in measured.values() for model in models if model.startswith(SERVER_MODEL)}
        found = {model: {site: _dice(measured[site].get(model)) for site in measured} for model in sorted(models)}
        means = {
            model.removeprefix(SERVER_MODEL): _mean_over_modalities(dice, modality) for model, dice in found.items()
        }
        return {model: dice for model, dice in means.items() if math.isfinite(dice)}

    def _modalities(self) -> dict[str, str]:
        """Return the modality of each site whose updates are in the models."""
        carried = list(self.folder.glob(f"{JOB}/*/{CONFIG}/{CHECKPOINT}"))
        earlier = {site: kind.value for path in carried for site, kind in read_modalities(path).items()}
        now = {site: item.modality for done in self.participation for site, item in done.contributed.items()}
        return earlier | now

    @property
    def measurers(self) -> set[str]:
        """Sites that reported a Dice, 0 to 1, of the last model in the cross-site evaluation."""
        model = f"{SERVER_MODEL}{self.last_model.name}"
        return {site for site, models in self._measured().items() if math.isfinite(_dice(models.get(model)))}

    def final_metrics(self, job: Job) -> RoundMetrics:
        """Return what the sites measured of the last model in the cross-site evaluation, as one more round.

        A round's metrics are of the model that the sites received, so these continue :attr:`rounds`.
        """
        model = f"{SERVER_MODEL}{self.last_model.name}"
        sites = {site: models[model] for site, models in self._measured().items() if model in models}
        return RoundMetrics(job.first_round + job.rounds, sites)

    @property
    def chosen_model(self) -> Path:
        """Checkpoint of the best of :attr:`candidates`; the last model when two are equal."""
        dice = self.candidates
        chosen = max(dice, key=lambda name: (dice[name], name == self.last_model.name), default=self.last_model.name)
        return self.folder / "app_server" / chosen

    @property
    def checkpoint(self) -> Path:
        """The global model of the last complete round that has another after it, from which a job is resumed."""
        return self.folder / SESSION / CHECKPOINT

    @property
    def cross_site(self) -> Path:
        """Cross-site evaluation: site -> model -> metrics, as JSON."""
        return self.folder / "cross_site_val" / "cross_val_results.json"

    @property
    def scores(self) -> dict[str, SiteScores]:
        """What each site tells of the model of a job that evaluates one; sites without a whole answer are left out.

        Raises:
            DataError: the cross-site evaluation is not as FLARE writes it.
        """
        return read_scores(read_answers(self.cross_site)) if self.cross_site.is_file() else {}

    @property
    def scored(self) -> dict[str, SiteScores]:
        """What sites told of an evaluated model so far, while the job runs; a file being written is left for later."""
        model, answers = f"{SERVER_MODEL}{EVALUATED}", dict[str, dict[str, Any]]()
        for path in (self.folder / "cross_site_val" / "result_shareables").glob(f"*_{model}"):
            with contextlib.suppress(Exception):  # FLARE's decoder raises many kinds for half a file
                answers[path.name.removesuffix(f"_{model}")] = {model: read_dxo(path)}
        return read_scores(answers)

    def fault(self, job: Job, sites: Collection[str]) -> str:
        """Say what keeps the run from being a success, or nothing.

        Every round must have been aggregated from at least ``job.min_clients`` sites, the final model must be whole,
        finite and another than the initial one, or encrypted where the job says so, and as many of the sites must have
        reported a Dice, 0 to 1, of it. Of a job that evaluates a model, as many sites must have scored it.

        Args:
            job: what was to be done.
            sites: that took part.

        Raises:
            DataError: participation or cross-site evaluation are not as they were written.
        """
        if job.experiment.collects:
            return "" if (self.folder / COLLECTION).is_file() else "no site was asked"
        if job.evaluated:
            return find_evaluation_fault(self.scores, sites, job.min_clients)
        # PyTorch and MONAI, which a console that follows a job for days needs for this last look only.
        from fedgin.flare.run.final_model import find_model_fault

        fault = _find_round_fault(self.participation, job) or find_model_fault(self.last_model, job)
        return fault or self._find_measuring_fault(sites, job.min_clients)

    def _find_measuring_fault(self, sites: Collection[str], least: int) -> str:
        missing = sorted(set(sites) - self.measurers)
        if not missing or len(sites) - len(missing) >= least:
            return ""
        return f"site {', '.join(missing)} did not measure the global model in the cross-site evaluation"

    def _measured(self) -> dict[str, dict[str, dict[str, float]]]:
        return read_cross_site(self.cross_site) if self.cross_site.is_file() else {}


def _find_round_fault(rounds: list[RoundParticipation], job: Job) -> str:
    for done in rounds:
        if not done.aggregated or len(done.contributed) < job.min_clients:
            reasons = "; ".join(f"{item.site}: {item.reason}" for item in done.absent)
            return f"round {done.number + 1} has {len(done.contributed)} of {job.min_clients} updates ({reasons})"
    return "" if len(rounds) == job.rounds else f"{len(rounds)} of {job.rounds} rounds were completed"


def _dice(metrics: Mapping[str, float] | None) -> float:
    value = float((metrics or {}).get(DICE, math.nan))
    return value if 0.0 <= value <= 1.0 else math.nan


def _mean_over_modalities(dice: Mapping[str, float], modality: Mapping[str, str]) -> float:
    """Average over the sites of each modality, then over the modalities; NaN where a site's is missing."""
    groups: dict[str, list[float]] = {}
    for site, value in dice.items():
        groups.setdefault(modality[site], []).append(value)
    means = [sum(values) / len(values) for values in groups.values()]
    return sum(means) / len(means) if means else math.nan


def first_errors(log: Path) -> list[str]:
    """Quote the first error lines of a log, without FLARE's long list of the context."""
    if not log.is_file():
        return []
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    found, transport = [], False
    for line in lines:
        if " - " in line:  # a message; what follows without one is its traceback
            transport = any(f" - {name} - " in line for name in TRANSPORT)
        if not transport and (" - ERROR - " in line or line.startswith(("Error", "Traceback"))):
            found.append(line.strip())
    return [one_line(CONTEXT.sub("", line)[:400]) for line in found[:5]]


def read_cross_site(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Read FLARE's cross-site evaluation: site -> model -> metrics, of which those that are numbers are kept.

    A site that holds something else is left out; it is then one that measured nothing, and is named as such.

    Raises:
        DataError: the file is missing or holds something else.
    """
    found = {}
    for site, models in read_answers(path).items():
        with contextlib.suppress(AttributeError, OverflowError):
            found[site] = {model: numbers(metrics) for model, metrics in models.items()}
    return found


def read_dxo(path: Path) -> Any:
    """Return the data of a file that FLARE's server has written of an answer; what it raises for another is FLARE's."""
    from nvflare.apis.dxo import from_file
    from nvflare.apis.utils.decomposers import flare_decomposers

    flare_decomposers.register()
    return from_file(str(path)).data


def read_answers(path: Path) -> dict[str, dict[str, Any]]:
    """Read FLARE's cross-site evaluation: site -> model -> whatever the site has answered.

    Raises:
        DataError: the file is missing or holds something else.
    """
    try:
        answers = _parse(path.read_bytes()).items()
        return {str(site): models for site, models in answers if isinstance(models, dict)}
    except (OSError, ValueError, AttributeError):
        raise _not_from_flare(path.name) from None


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

"""One site's part in the evaluation of a bundle: its model is scored on the site's test cases, nothing is trained."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from fedgin.data.datalist import Split
from fedgin.data.prepare import Progress, choose_device, prepare_site
from fedgin.data.site import SiteContract
from fedgin.errors import ConfigError, DataError, WeightsError
from fedgin.train.checkpoint import count_initial_weights, load_weights
from fedgin.train.evaluate.evaluator import Segmentation, score, segment
from fedgin.train.evaluate.scores import CaseScore
from fedgin.train.evaluate.site_summary import summarise_site
from fedgin.train.experiment import EvaluatedModel, Experiment
from fedgin.train.site.state import keep_scores
from fedgin.train.site.update import InterruptedTaskError

Stop = Callable[[], bool]


class SiteEvaluation:
    """A site taking part in a job that scores a trained model.

    Args:
        experiment: the experiment of the job, with ``evaluates``.
        contract: the contract of the site.
        folder: the site's folder of this run, for its scores by case, which stay there.
        model: the file with the weights that came with the signed job.
        progress: told of preprocessing.

    Raises:
        FedginError: the site has no test case or cannot score such a model; names the fix.
    """

    def __init__(
        self,
        experiment: Experiment,
        contract: SiteContract,
        folder: Path,
        model: Path,
        *,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.experiment = experiment
        self.contract = contract
        self.folder = folder
        self.model = model
        _check_modality(experiment, contract)
        self.device = choose_device(contract)
        data = prepare_site(
            contract, experiment.preprocessing, experiment.organs, splits=[Split.TEST], progress=progress
        )
        self.cases = data.cases[Split.TEST]
        if not self.cases:
            raise DataError(
                f"site {contract.site} has no test case to score the model on",
                "list cases under 'test' in the datalist",
            )

    def validate(
        self,
        weights: Mapping[str, Tensor],
        owner: str,
        *,
        stop: Stop,
        progress: Progress = lambda done, total: None,
    ) -> dict[str, Any]:
        """Score the model, and return :class:`~fedgin.train.evaluate.site_scores.SiteScores` as JSON values.

        Args:
            weights: that the server sent.
            owner: the name of the model, for the file of the scores.
            stop: asked before each case.
            progress: called with the number of cases scored and of all.

        Raises:
            InterruptedTaskError: ``stop`` said true.
            WeightsError: the server sent another model than the one that the lead signed, or it does not fit.
            LimitError: the network is larger than the site allows.
            DataError: the scores cannot be kept.
        """
        source = f"site {self.contract.site}, evaluated model"
        self._check_same(weights, source)
        self.contract.limits.check_parameters(count_initial_weights(self.experiment), self.contract.site)
        network = self.experiment.initial_network()
        load_weights(network, weights, source=source)
        scores: list[CaseScore] = []
        done = 0

        def receive(segmentation: Segmentation) -> None:
            nonlocal done
            scores.extend(score(segmentation, surfaces=True))
            done += 1
            progress(done, len(self.cases))

        segment(network, self.cases, self.device, receive, in_one_piece=self.experiment.in_one_piece, stop=stop)
        if stop():
            raise InterruptedTaskError(self.contract.site)
        keep_scores(self.folder, f"test_of_{owner}.csv", scores, self.contract.site)
        return summarise_site(scores, self.contract, self.experiment.organs).model_dump(mode="json")

    def _check_same(self, weights: Mapping[str, Tensor], source: str) -> None:
        """The job was signed by its lead and checked; what the server sends later is not."""
        signed = safetensors.torch.load_file(self.model)
        same = weights.keys() == signed.keys() and all(torch.equal(weights[name], signed[name]) for name in signed)
        if not same:
            raise WeightsError(f"{source}: it is not the one that came with the job", "ask who runs the server")


def _check_modality(experiment: Experiment, contract: SiteContract) -> None:
    evaluated = experiment.evaluates
    assert isinstance(evaluated, EvaluatedModel), "a job that trains has a session of its own"
    if experiment.network.normalisation == "dsbn" and contract.modality not in evaluated.modalities:
        raise ConfigError(
            f"site {contract.site} has {contract.modality} images; the model has layers of its own for each modality, "
            f"and those for {contract.modality} were never trained",
            f"evaluate it at sites with {' or '.join(evaluated.modalities)} images",
        )

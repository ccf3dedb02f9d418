"""One site's part in a federation, without the federation: tasks in, results out, what must last on disk.

A new process may be started for each task. Therefore nothing that a later task needs is kept in memory alone.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from fedgin.data.datalist import Split
from fedgin.data.prepare import Progress, choose_device, prepare_site
from fedgin.data.site import SiteContract
from fedgin.errors import FedginError
from fedgin.train.checkpoint import load_checkpoint, load_weights, save_checkpoint, travelling_weights
from fedgin.train.evaluator import evaluate
from fedgin.train.experiment import Experiment
from fedgin.train.privacy import sent_names
from fedgin.train.privacy_budget import ledger_of
from fedgin.train.release import LocalUpdate, ReleaseGate
from fedgin.train.scores import CaseScore, summarise, write_scores
from fedgin.train.trainer import RoundPlan, Trainer

Stop = Callable[[], bool]


class InterruptedTaskError(FedginError):
    """The task was aborted from outside; its partial result is thrown away."""

    def __init__(self, site: str) -> None:
        super().__init__(f"site {site}: the task was aborted", "nothing is wrong at the site")


class SiteSession:
    """A site taking part in one run.

    Args:
        experiment: of the job.
        contract: of the site.
        folder: the site's folder of this run; optimiser state, the last local model and scores are kept there.
        progress: told of preprocessing.

    Raises:
        FedginError: the site's data, device or settings are not right; nothing has been trained then.
    """

    def __init__(
        self,
        experiment: Experiment,
        contract: SiteContract,
        folder: Path,
        *,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.experiment = experiment
        self.contract = contract
        self.folder = folder
        self.device = choose_device(contract)
        self.data = prepare_site(contract, experiment.preprocessing, experiment.organs, progress=progress)
        network = experiment.initial_network()
        self.trainer = Trainer(network, experiment, self.device)
        self._gate = self._make_gate()

    def train(self, received: Mapping[str, Tensor], number: int, total: int, *, stop: Stop) -> LocalUpdate:
        """Validate the received model, train it for a round and return the difference, protected as the site asks.

        Args:
            received: the global model.
            number: the round, from 0.
            total: rounds of the run.
            stop: asked before each step and each case.

        Raises:
            InterruptedTaskError: ``stop`` said true.
            FedginError: weights that do not fit, training that went wrong, or privacy settings that cannot be kept.
        """
        network = self.trainer.network
        load_weights(network, received, source=f"site {self.contract.site}, global model of round {number}")
        before = {name: value.detach().clone() for name, value in travelling_weights(network).items()}
        if self._gate and (earlier := self._gate.earlier(before, number)):
            return earlier
        metrics = self._score(Split.VALIDATION, f"validation_round_{number:04d}.csv", stop)
        self._restore_optimizer(number)
        plan = RoundPlan(self.contract.site, number, total)
        result = self.trainer.train_round(self.data.cases[Split.TRAINING], plan, stop=stop)
        if result.steps < self.experiment.training.local_steps:
            raise InterruptedTaskError(self.contract.site)
        self._save(number)
        after = travelling_weights(network)
        difference = {name: (after[name] - before[name]).detach().float().cpu() for name in before}
        update = LocalUpdate(difference, metrics, self._weight(), result.loss)
        return self._gate.release(update, before, number) if self._gate else update

    def validate(self, weights: Mapping[str, Tensor], owner: str, *, stop: Stop) -> dict[str, float]:
        """Score a model on the site's test cases, or on its validation cases where it has no test case.

        The prefix of the metrics, ``test_`` or ``val_``, tells which.
        """
        load_weights(self.trainer.network, weights, source=f"site {self.contract.site}, model {owner}")
        split = Split.TEST if self.data.cases[Split.TEST] else Split.VALIDATION
        return self._score(split, f"{split}_of_{owner}.csv", stop)

    def local_model(self) -> dict[str, Tensor]:
        """Return the weights after the last local training, before they were averaged.

        With privacy settings it is the received model plus the protected update, never the trained weights themselves.

        Raises:
            WeightsError: the site has not trained in this run.
            PrivacyError: it has not trained under its present privacy settings.
        """
        if self._gate:
            return self._gate.model()
        weights: dict[str, Tensor] = load_checkpoint(self._local_model)["model"]
        return weights

    def _make_gate(self) -> ReleaseGate | None:
        """Return the gate of a site with privacy settings; settings that do not fit stop it before it trains."""
        privacy = self.contract.privacy
        if privacy is None:
            return None
        sent_names(travelling_weights(self.trainer.network), privacy)
        file = self.folder / "protected_update.pt"
        return ReleaseGate(privacy, file, ledger_of(self.contract), self.experiment.name)

    @property
    def _local_model(self) -> Path:
        return self.folder / "local_model.pt"

    def _optimizer(self, number: int) -> Path:
        return self.folder / f"optimizer_round_{number:04d}.pt"

    def _score(self, split: Split, file: str, stop: Stop) -> dict[str, float]:
        scores: list[CaseScore] = evaluate(self.trainer.network, self.data.cases[split], self.device, stop=stop)
        if stop():
            raise InterruptedTaskError(self.contract.site)
        write_scores(self.folder / "scores" / file, scores)
        return summarise(scores, "test" if split is Split.TEST else "val")

    def _weight(self) -> float:
        if self.experiment.federation.client_weighting == "uniform":
            return 1.0
        return float(self.data.training_slices)

    def _restore_optimizer(self, number: int) -> None:
        """Continue with the moments of the latest round before this one, or start afresh where the job says so.

        The round itself may have been trained before: FLARE asks again when an answer got lost, and a run that is
        resumed goes back to its last complete round. The same moments then give the same update.
        """
        state = {**self.trainer.optimizer.state_dict(), "state": {}}
        earlier = [path for path in self._kept_optimizers() if path.name < self._optimizer(number).name]
        if self.experiment.training.optimizer_state == "keep" and earlier:
            state = load_checkpoint(earlier[-1])["optimizer"]
        self.trainer.optimizer.load_state_dict(state)

    def _save(self, number: int) -> None:
        if self.experiment.training.optimizer_state == "keep":
            save_checkpoint(self._optimizer(number), {"optimizer": self.trainer.optimizer.state_dict()})
            for path in self._kept_optimizers():
                if path.name < self._optimizer(number - 1).name:
                    path.unlink()
        if not self._gate:
            save_checkpoint(
                self._local_model, {"round": number, "model": _on_cpu(travelling_weights(self.trainer.network))}
            )

    def _kept_optimizers(self) -> list[Path]:
        return sorted(self.folder.glob("optimizer_round_*.pt"))


def _on_cpu(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in weights.items()}

"""One site's part in a federation, without the federation: tasks in, results out.

Nothing that a later task needs is kept in memory alone: :mod:`fedgin.train.site.state` has it on disk.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from fedgin.data.datalist import Split
from fedgin.data.limits import LimitError
from fedgin.data.prepare import Progress, choose_device, prepare_site
from fedgin.data.site import SiteContract
from fedgin.errors import PrivacyError
from fedgin.train.batches import RoundPlan
from fedgin.train.checkpoint import averaged_weights, count_initial_weights, load_weights
from fedgin.train.evaluate.evaluator import evaluate
from fedgin.train.evaluate.scores import CaseScore, summarise
from fedgin.train.experiment import Experiment
from fedgin.train.privacy.budget import ledger_of
from fedgin.train.privacy.gate import PrivacyGate
from fedgin.train.privacy.protect import sent_names
from fedgin.train.round_length import steps_of_round
from fedgin.train.site.compression import halve
from fedgin.train.site.decrypted import restore_weights
from fedgin.train.site.sent_entries import local_entries, sent_entries
from fedgin.train.site.state import SiteState, keep_scores
from fedgin.train.site.update import REFUSED, InterruptedTaskError, LocalUpdate
from fedgin.train.trainer import RoundResult, Trainer

Stop = Callable[[], bool]


class SiteSession:
    """A site taking part in one run.

    Args:
        experiment: the experiment of the job.
        contract: the contract of the site.
        folder: the site's folder of this run, with its :class:`~fedgin.train.site.state.SiteState` and its scores.
        progress: told of preprocessing.
        source: the contract's ``site.yaml``, beside which a noisy site counts what it sends, too.

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
        source: Path | None = None,
    ) -> None:
        self.experiment = experiment
        self.contract = contract
        self.folder = folder
        self.device = choose_device(contract)
        contract.limits.check_parameters(count_initial_weights(experiment), contract.site)
        self.data = prepare_site(contract, experiment.preprocessing, experiment.organs, progress=progress)
        self.steps = steps_of_round(experiment, self.data.cases[Split.TRAINING])
        self._refuse_long_rounds()
        network = experiment.initial_network()
        normalisation = experiment.network.normalisation
        self.sent = sent_entries(network, normalisation, contract.modality)
        self.initial_local_layers = _only(averaged_weights(network), local_entries(network, normalisation))
        self.state = SiteState(
            folder,
            keep_optimizer=experiment.training.optimizer_state == "keep",
            privacy=contract.privacy.model_dump_json() if contract.privacy else "",
        )
        self.trainer = Trainer(network, experiment, self.device)
        self._gate = self._make_gate(source)

    def train(
        self, received: Mapping[str, Tensor], round_number: int, total_rounds: int, *, stop: Stop
    ) -> LocalUpdate[Tensor]:
        """Validate the received model, train it for a round and return the difference, protected as the site asks.

        It is float16 where the job's ``federation.transfer`` says so.

        Args:
            received: the global model.
            round_number: the round, from 0.
            total_rounds: the number of rounds of the run.
            stop: asked before each step and each case.

        Raises:
            InterruptedTaskError: ``stop`` said true.
            FedginError: weights that do not fit, training that went wrong, or privacy settings that cannot be kept.
        """
        network = self.trainer.network
        self._receive(received, round_number)
        before = _on_cpu(averaged_weights(network))
        if self._gate and (earlier := self._gate.earlier(before, round_number)):
            return self._packed(earlier, round_number)
        metrics = self._score(Split.VALIDATION, f"validation_round_{round_number:04d}.csv", stop)
        self.trainer.restore_optimizer(self.state.optimizer_before(round_number))
        plan = RoundPlan(self.contract.site, round_number, total_rounds)
        mu = self.experiment.federation.algorithm.parameters.get("mu", 0.0)
        result = self.trainer.train_round(self.data.cases[Split.TRAINING], plan, proximal=mu, stop=stop)
        if result.steps < self.steps:
            raise InterruptedTaskError(self.contract.site)
        if result.refused is not None:
            metrics[REFUSED] = result.refused
        after = _on_cpu(averaged_weights(network))
        self._save(round_number, before, after)
        difference = {name: (after[name] - before[name]).float() for name in before if name in self.sent}
        update = LocalUpdate(difference, metrics, self._weight(), result.loss, self._count(result))
        released = self._gate.release(update, before, round_number) if self._gate else update
        return self._packed(released, round_number)

    def validate(
        self, weights: Mapping[str, Tensor], owner: str, *, candidate: bool = False, stop: Stop
    ) -> dict[str, float]:
        """Score a model on the site's test cases, or on its validation cases where it has no test case.

        The prefix of the metrics, ``test_`` or ``val_``, tells which. With FedBN every model is scored with the site's
        own normalisation; another site's model comes without.

        Args:
            weights: the model.
            owner: whose it is, for the file of the scores.
            candidate: whether the model may become the result of the run. It is then scored on the validation cases
                too, because test cases must not choose.
            stop: asked before each case.
        """
        source = f"site {self.contract.site}, model {owner}"
        complete = {**self.initial_local_layers, **self._decrypted(weights, source), **self.state.local_layers.latest()}
        load_weights(self.trainer.network, complete, source=source)
        splits = [Split.TEST] if self.data.cases[Split.TEST] else [Split.VALIDATION]
        if candidate and Split.VALIDATION not in splits:
            splits.append(Split.VALIDATION)
        metrics: dict[str, float] = {}
        for split in splits:
            metrics |= self._score(split, f"{split}_of_{owner}.csv", stop)
        return metrics

    def local_model(self) -> dict[str, Tensor]:
        """Return the weights after the last local training, before they were averaged, without those that stay.

        With DSBN they hold the other modality's branches as received: a site of that modality needs them to score it.

        With privacy settings it is the received model plus the protected update, never the trained weights themselves.

        Raises:
            WeightsError: the site has not trained in this run.
            PrivacyError: it has not trained under its present privacy settings, or the job is an encrypted one: its
                server sees no model of a single site.
        """
        if self.experiment.federation.homomorphic_encryption:
            raise PrivacyError("an encrypted job asks for the local model", "use this package's encrypted job")
        weights = self._gate.model() if self._gate else self.state.local_model()
        return _only(weights, weights.keys() - self.initial_local_layers.keys())

    def _refuse_long_rounds(self) -> None:
        """Hold whole passes to the site's limit, too: before the cases were prepared nobody knew their steps."""
        most = self.contract.limits.local_steps
        if self.experiment.training.local_epochs and self.steps > most:
            raise LimitError(
                f"site {self.contract.site}: a round would have {self.steps:,} steps (at most {most:,})",
                "lower training.local_epochs, or raise 'limits' in site.yaml",
            )

    def _make_gate(self, source: Path | None) -> PrivacyGate | None:
        """Return the gate of a site with privacy settings; settings that do not fit stop it before it trains."""
        privacy, site = self.contract.privacy, f"site {self.contract.site}"
        if privacy is None:
            return None
        encrypted = self.experiment.federation.homomorphic_encryption
        if privacy.encrypted_jobs_only and not encrypted:
            raise PrivacyError(f"{site} takes part in encrypted jobs only", "submit an encrypted job")
        if privacy.exclude_layers and encrypted:
            raise PrivacyError(
                f"{site} excludes layers; an encrypted update is whole", "submit a job without encryption"
            )
        sent_names(self.sent, privacy, network=averaged_weights(self.trainer.network))
        file = self.folder / "protected_update.pt"
        return PrivacyGate(privacy, file, ledger_of(self.contract, source), self.experiment.name)

    def _receive(self, received: Mapping[str, Tensor], round_number: int) -> None:
        """Load the whole global model; then put back what stays at the site, which has its own after a first round."""
        network, source = self.trainer.network, f"site {self.contract.site}, global model of round {round_number + 1}"
        load_weights(network, self._decrypted(received, source), source=source)
        load_weights(
            network, {**averaged_weights(network), **self.state.local_layers.before(round_number)}, source=source
        )

    def _decrypted(self, weights: Mapping[str, Tensor], source: str) -> Mapping[str, Tensor]:
        encrypted = self.experiment.federation.homomorphic_encryption
        return restore_weights(self.trainer.network, weights, source=source) if encrypted else weights

    def _packed(self, update: LocalUpdate[Tensor], round_number: int) -> LocalUpdate[Tensor]:
        """Return an update as the job's ``federation.transfer`` sends it; the same again for a repeated round."""
        if self.experiment.federation.transfer == "float32":
            return update
        before = self.state.rounded_off.before(round_number)
        sent, left = halve(update.difference, before)
        self.state.rounded_off.save(round_number, before, {**before, **left})
        return replace(update, difference=sent)

    def _score(self, split: Split, file: str, stop: Stop) -> dict[str, float]:
        cases, kept = self.data.cases[split], self.experiment.in_one_piece
        scores: list[CaseScore] = evaluate(self.trainer.network, cases, self.device, in_one_piece=kept, stop=stop)
        if stop():
            raise InterruptedTaskError(self.contract.site)
        keep_scores(self.folder, file, scores, self.contract.site)
        return summarise(scores, "test" if split is Split.TEST else "val")

    def _weight(self) -> float:
        if self.experiment.federation.client_weighting == "uniform":
            return 1.0
        return float(self.data.training_slices)

    def _count(self, result: RoundResult) -> dict[str, int]:
        return {
            "cases": result.cases,
            "of_cases": len(self.data.cases[Split.TRAINING]),
            "slices": result.slices,
            "of_slices": self.data.training_slices,
        }

    def _save(self, round_number: int, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
        self.state.save_optimizer(round_number, self.trainer.optimizer_state())
        own = self.initial_local_layers
        if own:
            self.state.local_layers.save(round_number, _only(before, own), _only(after, own))
        if not self._gate:
            self.state.save_local_model(round_number, after)


def _on_cpu(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy weights, so that further training does not change them."""
    return {name: value.detach().cpu().clone() for name, value in weights.items()}


def _only(weights: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    return _on_cpu({name: value for name, value in weights.items() if name in names})

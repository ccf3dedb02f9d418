"""Train a network for one round on a site's samples, with MONAI's trainer."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.engines import SupervisedTrainer
from monai.inferers import SimpleInferer
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fedgin.data.cache import CachedCase
from fedgin.data.patches import draw_patches
from fedgin.data.samples import SampleDataset
from fedgin.data.slices import BalancedBatches, slices_of, whole_passes
from fedgin.errors import WeightsError
from fedgin.seeds import derive_seed, make_generator
from fedgin.train.batches import BatchMaker, RoundPlan
from fedgin.train.experiment import Experiment, TrainingSettings
from fedgin.train.method_loss import MethodLoss
from fedgin.train.precision import BFloat16Inferer, precision_of
from fedgin.train.prefetch import prefetched
from fedgin.train.proximal import ProximalLoss
from fedgin.train.round_length import steps_of_round

Stop = Callable[[], bool]
# Read in a thread while a GPU computes a step. On a CPU the thread would take its time from the step.
BATCHES_AHEAD = 2


@dataclass(frozen=True)
class RoundResult:
    """What a round of training was.

    Attributes:
        steps: optimiser steps made; fewer than asked only when stopped.
        loss: mean over the steps.
        fallbacks: slices or patches that the augmentation could not change and left as they were.
        cases: different cases that the round's batches are drawn from.
        slices: different slices in them.
        refused: share of the augmentation's draws that its quality filter refused; None without the filter.
    """

    steps: int
    loss: float
    fallbacks: int
    cases: int
    slices: int
    refused: float | None = None


class Trainer:
    """Holds one network and its optimiser, and trains them round by round.

    The data, the augmentation and the random streams of a round depend only on (seed, site, round), so that a round is
    the same in whichever process it runs.

    Args:
        network: trained in place; moved to ``device``.
        experiment: what to do.
        device: where to compute.

    Attributes:
        ahead: how many batches are read before they are needed; the results do not depend on it.
        precision: of the forward pass.
    """

    def __init__(self, network: nn.Module, experiment: Experiment, device: torch.device) -> None:
        self.network = network.to(device)
        self.experiment = experiment
        self.augmentation = augmentation = experiment.build_augmentation()
        self.device = device
        self.on_gpu = device.type == "cuda"
        self.ahead = BATCHES_AHEAD if self.on_gpu else 0
        settings = experiment.training
        self.precision = precision_of(device, amp=settings.amp)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.plateau = _plateau(self.optimizer) if settings.schedule == "plateau" else None
        self.loss = MethodLoss(experiment.loss, augmentation, experiment.classes)

    def train_round(
        self, cases: Sequence[CachedCase], plan: RoundPlan, *, proximal: float = 0.0, stop: Stop = lambda: False
    ) -> RoundResult:
        """Train for one round.

        Args:
            cases: the training cases.
            plan: which round of which run.
            proximal: above 0, FedProx's mu: the weights are held near those that the round begins with.
            stop: asked before each step; once it says true, training ends early.

        Raises:
            WeightsError: the loss became NaN or infinite; the network is not usable any more.
        """
        losses: list[Tensor] = []
        fallbacks = self.augmentation.fallbacks
        loader, steps = self.batches(cases, plan), steps_of_round(self.experiment, cases)
        maker = BatchMaker(self.network, self.experiment, self.augmentation, plan)
        # Dropout draws from PyTorch's global stream, which must not depend on what ran before in this process either.
        with torch.random.fork_rng(devices=[self.device] if self.on_gpu else []):
            torch.manual_seed(derive_seed(self.experiment.seed, plan.site, plan.round_number, "dropout"))
            with prefetched(loader, self.ahead) as read:
                engine = self._engine(read, steps, maker, proximal)
                self._attach(engine, plan, steps, losses, stop)
                engine.run()
        loss = _mean_loss(losses, plan)
        if self.plateau and losses:
            self.plateau.step(loss)
        return RoundResult(
            len(losses),
            loss,
            self.augmentation.fallbacks - fallbacks,
            *_count_drawn(loader),
            refused=maker.quality.refused if maker.quality else None,
        )

    def _engine(
        self, read: Iterator[dict[str, Any]], steps: int, maker: BatchMaker, proximal: float
    ) -> SupervisedTrainer:
        engine = SupervisedTrainer(
            device=self.device,
            max_epochs=1,
            train_data_loader=read,
            epoch_length=steps,
            non_blocking=self.on_gpu,
            network=self.network,
            optimizer=self.optimizer,
            loss_function=ProximalLoss(self.loss, self.network, proximal) if proximal else self.loss,
            prepare_batch=maker,
            amp=self.precision == "float16",
            inferer=BFloat16Inferer() if self.precision == "bfloat16" else SimpleInferer(),
            decollate=False,
        )
        # Ignite logs an exception before raising it; whoever catches it says it once, in words that are safe to log.
        engine.logger.setLevel(logging.CRITICAL)
        return engine

    def optimizer_state(self) -> dict[str, Any]:
        """Return what a later round continues from: the optimiser's moments, and how long its loss has not fallen."""
        state = self.optimizer.state_dict()
        return state | {"plateau": self.plateau.state_dict()} if self.plateau else state

    def restore_optimizer(self, state: Mapping[str, Any] | None) -> None:
        """Continue from what :meth:`optimizer_state` returned, or with ``None`` start afresh."""
        if state is None:
            for group in self.optimizer.param_groups:
                group["lr"] = self.experiment.training.learning_rate
            self.plateau = _plateau(self.optimizer) if self.plateau else None
        self.optimizer.load_state_dict(dict(state or self.optimizer.state_dict() | {"state": {}}))
        if self.plateau and state:
            self.plateau.load_state_dict(state["plateau"])

    def batches(self, cases: Sequence[CachedCase], plan: RoundPlan) -> DataLoader:
        """Return the round's batches, before augmentation; dictionaries as :class:`SampleDataset` gives them."""
        settings, seed, steps = self.experiment.training, self.experiment.seed, steps_of_round(self.experiment, cases)
        if self.experiment.spatial_dims == 3:
            generator = make_generator(seed, plan.site, plan.round_number, "patches")
            count = steps * settings.batch_size
            patches = draw_patches(cases, count, foreground_share=settings.organ_share, generator=generator)
            return DataLoader(SampleDataset(patches), batch_size=settings.batch_size, pin_memory=self.on_gpu)
        slices = slices_of(cases)
        generator = make_generator(seed, plan.site, plan.round_number, "slices")
        batches: Iterable[list[int]] = BalancedBatches(
            slices,
            batch_size=settings.batch_size,
            batches=steps,
            foreground_share=settings.organ_share,
            generator=generator,
        )
        if settings.local_epochs:
            batches = whole_passes(slices, settings.batch_size, settings.local_epochs, generator)
        return DataLoader(SampleDataset(slices), batch_sampler=list(batches), pin_memory=self.on_gpu)

    def _attach(self, engine: SupervisedTrainer, plan: RoundPlan, steps: int, losses: list[Tensor], stop: Stop) -> None:
        settings = self.experiment.training

        def before_step(trainer: Engine) -> None:
            if stop():
                trainer.terminate()
            step = plan.round_number * steps + trainer.state.iteration - 1
            total = plan.total_rounds * steps
            self.augmentation.progress = step / total
            if self.plateau is None:
                for group in self.optimizer.param_groups:
                    group["lr"] = learning_rate(settings, step, total)

        def after_step(trainer: Engine) -> None:
            # Read at the end of the round: whoever reads a number of a GPU waits for all it has still to do.
            losses.append(trainer.state.output["loss"].detach())

        engine.add_event_handler(Events.ITERATION_STARTED, before_step)
        engine.add_event_handler(Events.ITERATION_COMPLETED, after_step)


def _plateau(optimizer: torch.optim.Optimizer) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=3, min_lr=1e-5)


def _mean_loss(losses: Sequence[Tensor], plan: RoundPlan) -> float:
    """Return the mean over the steps of a round, 0 if there was none; raise a WeightsError if it is not finite."""
    mean = float(torch.stack(list(losses)).double().mean()) if losses else 0.0
    if not math.isfinite(mean):
        raise WeightsError(
            f"site {plan.site}, round {plan.round_number + 1}: the training loss is not finite",
            "lower training.learning_rate",
        )
    return mean


def _count_drawn(loader: DataLoader) -> tuple[int, int]:
    """Count the different cases and slices of a round's batches, which are dealt before the first step."""
    drawn = [loader.dataset.samples[index] for index in {index for batch in loader.batch_sampler for index in batch}]
    shown = {(sample.case.case.site, sample.case.case.number, place) for sample in drawn for place in sample.slices}
    return len({(site, number) for site, number, _ in shown}), len(shown)


def learning_rate(settings: TrainingSettings, step: int, total: int) -> float:
    """Return the rate of one step, from 0, of a run of ``total`` steps; a plateau sets it between rounds instead."""
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * (1.0 - min(step, total - 1) / total) ** 0.9

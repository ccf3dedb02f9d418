"""Gradient inversion from one update: can the server see a slice that a site trained on?

    python -m benchmarks.inversion --out runs/inversion
    python -m benchmarks.inversion --slices 1 --iterations 5    # only to see that it runs

A site of CT phantoms makes one step on one slice from the initial weights, the attacker's easiest case, or a round of
40 steps on 8 slices each. The attacker knows network, loss and labels of the slice, and searches for an image whose
update points the same way. Whether that is the slice is judged against slices of other cases of the same generator:
any two abdomens look alike, so a correlation alone says nothing. "Noise multiplier 1" shows what labels alone give.
A picture of all reconstructions is written to --out.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from benchmarks.attacks.inversion import Guess, Look, Predict, Search, known_draw, likeness, reconstruct
from benchmarks.attacks.setting import SITE, privacy_settings, protected, small_experiment, write_attacked_site
from fedgin.augment.methods.gin import GIN
from fedgin.data.datalist import Split
from fedgin.data.prepare import SiteData
from fedgin.data.privacy import Privacy
from fedgin.data.slices import slices_of
from fedgin.seeds import make_generator
from fedgin.train.batches import BatchMaker, RoundPlan
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.experiment import Experiment
from fedgin.train.losses import Targets, build_loss
from fedgin.train.trainer import Trainer

SIDE, CHANNELS, CASES, UNRELATED = 48, [8, 16, 32], 3, 60
STEP = {"local_steps": 1, "batch_size": 1, "foreground_share": 1.0}
ROUND = {"local_steps": 40, "batch_size": 8, "foreground_share": 1.0}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Training:
    """A round of the site: its update, and the first slice of its first batch.

    Attributes:
        update: trained minus received weights, by name.
        clean: the slice after the geometric change, [1, 1, H, W].
        seen: what the network was trained on, after the augmentation.
        targets: the slice's labels.
    """

    experiment: Experiment
    plan: RoundPlan
    update: dict[str, Tensor]
    clean: Tensor
    seen: Tensor
    targets: Targets

    def guess(self, update: Mapping[str, Tensor], look: Look = lambda image: image) -> Guess:
        """Return what the attacker knows of the first slice."""
        network = self.experiment.initial_network()
        entries = [name for name, _ in network.named_parameters() if name in update]
        return Guess(network, build_loss(self.experiment.loss), self.targets, entries, look)


@dataclass(frozen=True)
class Attempt:
    """One attack: what the site did, what the attacker matches with what, and where the truth is."""

    arm: str
    training: Training
    predict: Predict
    update: list[Tensor]


@dataclass(frozen=True)
class Found:
    """A reconstruction beside the truth.

    Attributes:
        correlation: with the slice.
        ssim: with the slice.
        unrelated: largest correlation with any slice of the other cases.
        rank: of the slice among these and itself, by correlation; 1 is identified.
        seen: correlation with what the network was trained on.
    """

    arm: str
    training: Training
    image: Tensor
    correlation: float
    ssim: float
    unrelated: float
    rank: int
    seen: float


def main(
    slices: Annotated[int, typer.Option(min=1, help="Slices that are attacked.")] = 2,
    iterations: Annotated[int, typer.Option(min=1, help="Steps of each search.")] = 150,
    out: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("runs/inversion"),
) -> None:
    """Attack updates of one step and of a round, and print a table.

    Example: python -m benchmarks.inversion --slices 2 --out runs/inversion
    """
    torch.set_num_threads(1)  # small slices: a second thread costs more than it gives
    with tempfile.TemporaryDirectory() as scratch:
        data = write_attacked_site(Path(scratch), small_experiment("none", SIDE, CHANNELS, STEP), CASES)
        others = unrelated_slices(data)
        attempts = [attempt for number in range(slices) for attempt in attempts_on(data, number)]
        found = [attack(attempt, others, Search(iterations)) for attempt in track(attempts)]
    title = f"{slices} slices of {SIDE} x {SIDE}, {iterations} search steps, {len(others)} unrelated slices; means"
    Console().print(as_table(title, found))
    out.mkdir(parents=True, exist_ok=True)
    picture(found).savefig(out / "inversion.png", dpi=110)


def attempts_on(data: SiteData, number: int) -> Iterator[Attempt]:
    """Give all attacks on one slice, from the easiest on."""
    plain, gin = (train(small_experiment(name, SIDE, CHANNELS, STEP), data, number) for name in ("none", "gin"))
    guess = plain.guess(plain.update)
    gradient = [part.detach() for part in guess.gradient_step(plain.seen)]
    yield Attempt("step: gradient itself", plain, guess.gradient_step, gradient)
    yield _attempt("step: update", plain, plain.update)
    settings = {**privacy_settings(plain.update), "without the first block": Privacy(exclude_layers=("model.0",))}
    del settings["clip to 30 %"]  # a shorter update points the same way
    received = averaged_weights(plain.experiment.initial_network())
    for name, privacy in settings.items():
        yield _attempt(f"step: {name}", plain, protected(plain.update, received, privacy))
    yield _attempt("step, GIN", gin, gin.update)
    yield _attempt("step, GIN: draws repeated", gin, gin.update, repeated_draw(gin))
    for name in ("none", "gin"):
        whole = train(small_experiment(name, SIDE, CHANNELS, ROUND), data, number)
        yield _attempt(f"round{', GIN' if name == 'gin' else ''}: update", whole, whole.update)


def train(experiment: Experiment, data: SiteData, number: int) -> Training:
    """Train the initial network for a round as the site does, and tell what its first slice was."""
    trainer, cases = Trainer(experiment.initial_network(), experiment, CPU), data.cases[Split.TRAINING]
    plan = RoundPlan(SITE, number, number + 1)
    batch = next(iter(trainer.batches(cases, plan)))
    images, targets = BatchMaker(trainer.network, experiment, trainer.augmentation, plan)(batch, CPU, False)
    first = Targets(targets.segmentation.label[:1], targets.segmentation.labelled[:1])
    trainer.train_round(cases, plan)
    received, trained = averaged_weights(experiment.initial_network()), averaged_weights(trainer.network)
    update = {name: trained[name].detach() - value for name, value in received.items()}
    return Training(experiment, plan, update, targets.clean[:1], images[:1], first)


def repeated_draw(training: Training) -> Look:
    """Return GIN as the site drew it: all that the draw is derived from is in the job, which the server has."""
    method = training.experiment.build_augmentation()
    assert isinstance(method, GIN)
    generator = make_generator(
        training.experiment.seed, training.plan.site, training.plan.round_number, 0, "appearance"
    )
    return known_draw(method, method.draw(training.clean.shape, gen=generator).params)


def unrelated_slices(data: SiteData) -> list[Tensor]:
    """Return slices with an organ of cases that were not trained on."""
    slices = [entry for entry in slices_of(data.cases[Split.TEST]) if entry.shows]
    chosen = np.linspace(0, len(slices) - 1, min(UNRELATED, len(slices))).astype(int)
    return [slices[place].read("image")[None, None] for place in chosen]


def attack(attempt: Attempt, others: list[Tensor], search: Search) -> Found:
    """Search for the slice and compare what was found with it and with unrelated ones."""
    truth = attempt.training
    image = reconstruct(attempt.predict, attempt.update, truth.clean.shape, search)
    true, rest = likeness(image, truth.clean), [likeness(image, other).correlation for other in others]
    rank = 1 + sum(other >= true.correlation for other in rest)
    seen = likeness(image, truth.seen).correlation
    return Found(attempt.arm, truth, image, true.correlation, true.ssim, max(rest), rank, seen)


def as_table(title: str, found: list[Found]) -> Table:
    table = Table("attacked", title=title)
    for heading in ("correlation", "SSIM", "best unrelated", "ranks of the true slice", "with the augmented"):
        table.add_column(heading, justify="right")
    for arm in dict.fromkeys(result.arm for result in found):
        rows = [result for result in found if result.arm == arm]
        means = np.mean([(row.correlation, row.ssim, row.unrelated, row.seen) for row in rows], axis=0)
        cells = [f"{value:.2f}" for value in means]
        table.add_row(arm, *cells[:3], ", ".join(str(row.rank) for row in rows), cells[3])
    return table


def picture(found: list[Found]) -> Figure:
    """Draw a row for each attack: for each slice the original, what the network saw, and the reconstruction."""
    arms = list(dict.fromkeys(result.arm for result in found))
    columns = 3 * (len(found) // len(arms))
    figure = Figure(figsize=(1.6 * columns, 1.7 * len(arms)), layout="constrained")
    grid = figure.subplots(len(arms), columns, squeeze=False)
    for row, arm in zip(grid, arms, strict=True):
        results = [result for result in found if result.arm == arm]
        images = [image for result in results for image in (result.training.clean, result.training.seen, result.image)]
        for panel, image, title in zip(row, images, ("original", "trained on", "found") * len(results), strict=True):
            panel.imshow(np.flipud(image[0, 0].numpy().T)[:, ::-1], cmap="gray")
            panel.set_title(title, fontsize=7)
            panel.set(xticks=[], yticks=[])
        row[0].set_ylabel(arm, fontsize=6)
    return figure


def _attempt(arm: str, training: Training, update: Mapping[str, Tensor], look: Look = lambda image: image) -> Attempt:
    guess = training.guess(update, look)
    return Attempt(arm, training, guess.gradient_step, [update[entry] for entry in guess.entries])


if __name__ == "__main__":
    typer.run(main)

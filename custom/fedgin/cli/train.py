"""``fedgin train``: train at one place, without a federation."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedgin.data.datalist import Split
from fedgin.data.prepare import choose_device, prepare_site
from fedgin.data.site import load_site
from fedgin.flare.job import load_job
from fedgin.train.alone import AloneRun, train_alone
from fedgin.train.checkpoint import save_checkpoint, travelling_weights
from fedgin.train.evaluator import evaluate
from fedgin.train.scores import mean_dice, mean_dice_by_organ, write_scores


def train(
    site: Annotated[list[Path], typer.Argument(help="site.yaml of one site (local) or of several (centralised).")],
    job: Annotated[Path, typer.Option(help="Job folder: its experiment.yaml and its number of rounds.")],
    out: Annotated[Path, typer.Option(help="Folder for model.pt and validation_scores.csv.")],
) -> None:
    """Train alone what a job would train federated: the local or the centralised baseline.

    A run that was cut off continues after its last complete round when it is started again with the same OUT.

    Example: fedgin train hospital/site.yaml --job jobs/abdomen_fedgin --out runs/alone
    """
    console = Console()
    plan = load_job(job)
    contracts = [load_site(path) for path in site]
    sites = [prepare_site(item, plan.experiment.preprocessing, plan.experiment.organs) for item in contracts]
    device = choose_device(contracts[0])
    cases = [case for item in sites for case in item.cases[Split.TRAINING]]
    name = contracts[0].site if len(contracts) == 1 else "central"
    run = AloneRun(name, cases, plan.rounds, out / "alone.pt")
    network = train_alone(
        plan.experiment,
        run,
        device,
        after_round=lambda _, number, result: console.print(
            f"round {number + 1}/{plan.rounds}  loss {result.loss:.3f}"
        ),
    )
    save_checkpoint(out / "model.pt", {"model": travelling_weights(network)})
    scores = [score for item in sites for score in evaluate(network, item.cases[Split.VALIDATION], device)]
    write_scores(out / "validation_scores.csv", scores)
    for organ, dice in mean_dice_by_organ(scores).items():
        console.print(f"{organ:20} {dice:.3f}")
    console.print(f"validation Dice {mean_dice(scores):.3f}; weights: {out / 'model.pt'}")

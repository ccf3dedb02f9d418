"""``fedgin train``: train at one place, without a federation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fedgin.cli.interrupt import interruptible
from fedgin.cli.options import Models, Quiet
from fedgin.cli.remaining import RemainingTime, left

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fedgin.data.prepare import SiteData
    from fedgin.flare.jobs.job import Job
    from fedgin.train.trainer import RoundResult


def train(
    site: Annotated[list[Path], typer.Argument(help="site.yaml of one site (local) or of several (centralised).")],
    job: Annotated[Path, typer.Option(help="Job folder: its experiment.yaml and its number of rounds.")],
    out: Annotated[Path, typer.Option(help="Folder for model.pt and validation_scores.csv.")],
    models: Models = None,
    quiet: Quiet = False,
) -> None:
    """Train alone what a job would train federated: the local or the centralised baseline.

    A run that was cut off continues after its last complete round when it is started again with the same OUT.

    Example: fedgin train hospital/site.yaml --job jobs/abdomen_fedgin --out runs/alone
    """
    from fedgin.data.site import load_site
    from fedgin.data.sites import check_labelled, check_names
    from fedgin.flare.jobs.job import load_job
    from fedgin.train.pretrained_file import find_file

    plan = load_job(job)
    contracts = [load_site(path) for path in site]
    check_names(contracts)
    if len(contracts) > 1:  # one site alone may lack what others label
        check_labelled(contracts, plan.experiment.organs)
    if plan.experiment.starts_from:
        find_file(plan.experiment.starts_from, models)
    # Seconds to import: what is wrong in the files is told before.
    from fedgin.data.datalist import Split
    from fedgin.data.prepare import choose_device, prepare_site
    from fedgin.folders import folder_to_itself
    from fedgin.study.arm_provenance import describe_training
    from fedgin.train.checkpoint import averaged_weights, save_checkpoint
    from fedgin.train.evaluate.evaluator import evaluate
    from fedgin.train.evaluate.scores import mean_dice, mean_dice_by_organ, write_scores
    from fedgin.train.provenance import write_provenance

    console = Console(highlight=False, soft_wrap=True, quiet=quiet)
    with interruptible(console), folder_to_itself(out, "a training"):
        sites = [prepare_site(item, plan.experiment.preprocessing, plan.experiment.organs) for item in contracts]
        device = choose_device(contracts[0])
        network = _train(plan, sites, device, console, checkpoint=out / "alone.pt", models=models)
        save_checkpoint(out / "model.pt", {"model": averaged_weights(network)})
        validation = [case for item in sites for case in item.cases[Split.VALIDATION]]
        scores = evaluate(network, validation, device, in_one_piece=plan.experiment.in_one_piece)
        write_scores(out / "validation_scores.csv", scores)
        write_provenance(out, describe_training(plan.experiment, plan.rounds, sites, scores))
    for organ, dice in mean_dice_by_organ(scores).items():
        console.print(f"{organ:20} {dice:.3f}")
    console.print(f"validation Dice {mean_dice(scores):.3f}; weights: {out / 'model.pt'}")


def _train(
    plan: "Job",
    sites: "list[SiteData]",
    device: "torch.device",
    console: Console,
    *,
    checkpoint: Path,
    models: Path | None,
) -> "nn.Module":
    from fedgin.data.datalist import Split
    from fedgin.train.standalone import StandaloneRun, train_standalone

    remaining = RemainingTime(plan.rounds)

    def report(_: "nn.Module", round_number: int, result: "RoundResult") -> None:
        rest = left(remaining.step(round_number + 1))
        console.print(f"round {round_number + 1}/{plan.rounds}  loss {result.loss:.3f}  {rest}".rstrip())

    cases = [case for item in sites for case in item.cases[Split.TRAINING]]
    name = sites[0].contract.site if len(sites) == 1 else "central"
    run = StandaloneRun(name, cases, plan.rounds, checkpoint, models)
    return train_standalone(plan.experiment, run, device, after_round=report)

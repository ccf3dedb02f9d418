"""``fedgin site decrypt``: the global model of an encrypted job, for people who may have it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def decrypt(
    model: Annotated[Path, typer.Argument(help="FL_global_model.pt of the job's result, as the project lead has it.")],
    experiment: Annotated[Path, typer.Option(help="The job's experiment.yaml.")],
    kit: Annotated[Path, typer.Option(help="The site's unpacked kit, which has the key.")],
    out: Annotated[Path, typer.Option(help="File for the readable weights.")],
) -> None:
    """Make an encrypted global model readable.

    Only a site can: the server and the project lead have no key. Every site may do it alone.

    Example: fedgin site decrypt FL_global_model.pt --experiment experiment.yaml --kit kits/hospital-a --out model.pt
    """
    from fedgin.train.experiment import load_experiment

    settings = load_experiment(experiment)
    from fedgin.flare.client.decrypt import decrypt_model
    from fedgin.train.checkpoint import save_checkpoint

    save_checkpoint(out, {"model": decrypt_model(model, settings, kit)})
    Console(highlight=False, soft_wrap=True).print(f"readable by everybody now: {out}")

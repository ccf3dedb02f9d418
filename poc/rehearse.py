"""The local rehearsal: a server, three sites and a lead as real processes, with provisioned kits and mutual TLS.

It does what a real federation does, on this machine and on phantoms: provision, unpack, start, submit, follow, fetch,
report, stop. Everything it starts it also stops, after an error or Ctrl-C too.

    PYTHONPATH=. python poc/rehearse.py --rounds 4
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedgin.cli.fault import faults_told
from fedgin.cli.phantoms import write_demo_sites
from fedgin.cli.run import run
from fedgin.data.site import load_site
from fedgin.flare.jobs.job import load_job, stage_job
from fedgin.flare.provisioning.federation import Role
from fedgin.folders import emptied_folder, folder_to_itself
from fedgin.phantoms.task import Task
from poc.federation import provision, running


def main(
    job: Annotated[Path, typer.Option(help="Job folder.")] = Path("jobs/abdomen_fedgin"),
    out: Annotated[Path, typer.Option(help="Folder for phantoms, kits, logs and results.")] = Path("runs/poc"),
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 4,
    local_steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of a site in a round.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 42,
) -> None:
    """Rehearse a federation of three hospitals on this machine."""
    console = Console(highlight=False, soft_wrap=True)
    with folder_to_itself(out, "a rehearsal"):
        data, place = out / f"phantoms-{Task.ABDOMEN}-seed-{seed}", out / "federation"
        write_demo_sites(data, Task.ABDOMEN, seed, console)
        emptied_folder(place, "a rehearsal")
        sites = {path.parent.name: load_site(path) for path in sorted(data.glob("*/site.yaml"))}
        changes = {"seed": seed, "training": {"local_steps": local_steps, "batch_size": 8}}
        staged = stage_job(load_job(job), out / job.name, sites=len(sites), rounds=rounds, changes=changes)
        federation = provision(sites, place)
        console.print(f"kits of {', '.join(sites)}, the server and four people: {federation.folder}")
        with running(federation, list(sites)):
            console.print("server and sites are up, with mutual TLS on loopback")
            run(staged.folder, federation.admin(Role.LEAD), out / "result", overwrite=True)
        console.print("stopped everything that was started")


if __name__ == "__main__":
    with faults_told():
        typer.run(main)

"""``fedgin run``: submit a job to the federation, follow it, fetch model and report."""

from pathlib import Path
from typing import Annotated

import typer

from fedgin.cli.evaluated_bundle import EvaluatedBundle, read_job
from fedgin.cli.options import MinSites, Overwrite, Quiet


def run(
    job: Annotated[Path, typer.Argument(help="Job folder, such as jobs/abdomen_fedgin.")],
    kit: Annotated[Path, typer.Option(help="Your unpacked console kit.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results. Default: runs/JOB, runs/JOB-2, ...")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds. Default: as many as the job says.")] = None,
    min_sites: MinSites = None,
    bundle: EvaluatedBundle = None,
    follow_job: Annotated[str | None, typer.Option("--follow", help="Id of a job that runs already.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Check all that can be checked, and submit nothing.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Submit a job as `submit_job` of the console does, print each round with the Dice of every site, fetch the result.

    The job runs on the sites that are connected now, and every round needs all of them. When they are more or fewer
    than the job's min_clients nothing is submitted, unless --min-sites says how many a round needs.
    With --bundle nothing is trained: each site scores the bundle's model on its test cases.
    Ctrl-C leaves the job running; the message says how to follow it again.

    Example: fedgin run jobs/abdomen_fedgin --kit kits-unpacked/lead@example.org --rounds 20
    """
    from dataclasses import replace

    from fedgin.cli.follow_job import Submitted, check_parts, follow_to_end, lead_console, result_folder, who_is_needed
    from fedgin.cli.interrupt import interruptible
    from fedgin.errors import ConfigError
    from fedgin.flare.run.console import choose_sites, connect, connected_sites, submit
    from fedgin.flare.run.download import held
    from fedgin.folders import FolderError, check_writable, mark_as, reserved

    console = lead_console(quiet=quiet)
    plan = read_job(job, bundle)
    if rounds is not None and plan.evaluated:
        raise ConfigError("--rounds: an evaluation trains nothing", "leave it out")
    if follow_job and min_sites is not None:
        raise ConfigError("--min-sites: the job that --follow names was submitted with its own", "leave it out")
    plan = replace(plan, rounds=rounds or plan.rounds)
    if follow_job is None:
        check_parts(console, plan.experiment)
    holds = held(follow_job) if follow_job else ""
    folder = out or result_folder(plan.name, holds=holds, overwrite=overwrite)
    if folder.resolve().is_relative_to(plan.folder.resolve()):
        # A job holds nothing but its own files: the next run of it would be refused.
        raise FolderError("the result would lie in the job's folder", "start elsewhere, or give another --out")
    if check:
        check_writable(folder, holds=holds, overwrite=overwrite)
        with interruptible(console, "Nothing was submitted."), connect(kit) as session:
            plan = choose_sites(plan, connected_sites(session), min_sites)
        length = "" if plan.evaluated else f"; {plan.rounds} rounds"
        console.print(f"{who_is_needed(plan)}{length}; result in {folder}\nThe job is sound. Nothing was submitted.")
        return
    with (
        interruptible(console, "Nothing was submitted.") as stopped,
        reserved(folder, holds=holds, overwrite=overwrite),
        connect(kit) as session,
    ):
        if follow_job is None:
            plan = choose_sites(plan, connected_sites(session), min_sites)
            console.print(who_is_needed(plan))
            stopped.advice = f"The job may have been submitted: see fedgin jobs --kit {kit}"
        job_id = follow_job or submit(session, plan)
        mark_as(folder, held(job_id))
        follow_to_end(session, Submitted(plan, job_id, kit, folder, bundle, overwrite, quiet, rounds), stopped)

"""``fedgin simulate``: run one job in FLARE's simulator."""

from pathlib import Path
from typing import Annotated

import typer

from fedgin.cli.evaluated_bundle import EvaluatedBundle, read_job
from fedgin.cli.options import MinSites, Models


def simulate(
    job: Annotated[Path, typer.Argument(help="Job folder, such as jobs/abdomen_fedgin.")],
    sites: Annotated[Path, typer.Option(help="Folder with one folder a site, each with a site.yaml.")],
    out: Annotated[
        Path | None,
        typer.Option(help="New folder for the result. Default: runs/JOB-simulated, runs/JOB-simulated-2, ..."),
    ] = None,
    min_sites: MinSites = None,
    bundle: EvaluatedBundle = None,
    models: Models = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Sites that work at once; fewer cost time. Default: all.")
    ] = None,
) -> None:
    """Run a job on this machine, without kits; print each round and write model and report, as `fedgin run` does.

    With --bundle nothing is trained: each site scores the bundle's model on its test cases.
    The result folder holds FLARE's workspace, too; the last line says how to run the job in it with FLARE's command.

    Example: fedgin simulate jobs/abdomen_fedgin --sites runs/demo/phantoms-abdomen-seed-42
    """
    from fedgin.cli.follow_job import check_parts, lead_console
    from fedgin.cli.simulated_job import simulate_to_end
    from fedgin.data.sites import find_sites
    from fedgin.flare.run.console import choose_sites
    from fedgin.folders import own_folder
    from fedgin.train.pretrained_file import find_file

    contracts = {contract.site: contract for contract in find_sites(sites)}
    plan = choose_sites(read_job(job, bundle), sorted(contracts), min_sites)
    if plan.experiment.starts_from:
        find_file(plan.experiment.starts_from, models)
    check_parts(lead_console(), plan.experiment, models)
    folder = out or own_folder(Path("runs") / f"{plan.name}-simulated")
    simulate_to_end(plan, {site: contracts[site] for site in plan.sites}, folder, threads or len(plan.sites), models)

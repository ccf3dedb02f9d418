"""``fedgin plan``: one job that fits several sites, from what they may share of their datasets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedgin.cli.format import Format
from fedgin.cli.options import Overwrite
from fedgin.cli.tables import print_rows

if TYPE_CHECKING:
    from fedgin.planning.plan import Plan


def plan(
    output: Annotated[Path, typer.Option(help="Folder of the job, which is made; its name is the job's.")],
    fingerprints: Annotated[
        list[Path], typer.Argument(help="fingerprint.json of each site, as `fedgin site validate` wrote it.")
    ],
    memory: Annotated[
        float, typer.Option(min=1.0, max=1000.0, help="What a training step may take at any site, in GB.")
    ] = 8.0,
    organ_sites: Annotated[int, typer.Option(min=1, help="How many sites must label an organ.")] = 2,
    dimensions: Annotated[
        int | None, typer.Option(min=2, max=3, help="2 or 3. Default: volumes where every site has enough slices.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Plan one job for all sites from their fingerprints, by the rules of nnU-Net, and print why.

    Nothing is trained and no image is read. The job's experiment.yaml repeats the reasons; edit it as you like.

    Example: fedgin plan a/fingerprint.json b/fingerprint.json c/fingerprint.json --output jobs/our_abdomen
    """
    from fedgin.flare.jobs.new_job import write_new_job
    from fedgin.folders import check_writable
    from fedgin.planning.fingerprints import load_fingerprints
    from fedgin.planning.plan import Wishes, make_plan

    check_writable(output, overwrite=overwrite)
    wishes = Wishes(memory, organ_sites, dimensions)
    planned = make_plan(output.resolve().name, load_fingerprints(fingerprints), wishes)
    job = write_new_job(output, planned.experiment, planned.text(), planned.sites, overwrite=overwrite)
    _print(planned)
    typer.echo(f"Job: {job.folder}")


def _print(planned: "Plan") -> None:
    rows = [(item.key, item.value, item.reason, item.source) for item in planned.decisions]
    print_rows(("decision", "value", "why", "rule of"), rows, Format.TEXT, title=f"Plan of {planned.experiment.name}")
    for warning in planned.warnings:
        typer.echo(f"Look at: {warning}")

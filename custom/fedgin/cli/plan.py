"""``fedgin plan``: one job that fits several sites, from what they may share of their datasets."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedgin.cli.format import Format
from fedgin.cli.options import Overwrite
from fedgin.cli.tables import print_rows
from fedgin.errors import ConfigError

if TYPE_CHECKING:
    from fedgin.planning.fingerprints import Fingerprint
    from fedgin.planning.plan import Plan


def plan(
    out: Annotated[Path, typer.Option(help="Folder of the job, which is made; its name is the job's.")],
    fingerprints: Annotated[
        list[Path] | None, typer.Argument(help="fingerprint.json of each site, as `fedgin site validate` wrote it.")
    ] = None,
    kit: Annotated[
        Path | None, typer.Option(help="Your unpacked console kit: ask the connected sites, in place of files.")
    ] = None,
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
    With --kit each connected site that has agreed to it sends its fingerprint; they are kept in OUT-fingerprints.

    Example: fedgin plan a/fingerprint.json b/fingerprint.json c/fingerprint.json --out jobs/our_abdomen
    """
    from fedgin.flare.jobs.new_job import write_new_job
    from fedgin.folders import check_writable
    from fedgin.planning.fingerprints import load_fingerprints
    from fedgin.planning.plan import Wishes, make_plan

    check_writable(out, overwrite=overwrite)
    if bool(fingerprints) == bool(kit):
        raise ConfigError("give fingerprints of sites, or --kit to ask for them", "one of the two")
    found = _collect(kit, out, overwrite=overwrite) if kit else load_fingerprints(fingerprints or [])
    planned = make_plan(out.resolve().name, found, Wishes(memory, organ_sites, dimensions))
    job = write_new_job(out, planned.experiment, planned.text(), planned.sites, overwrite=overwrite)
    _print(planned)
    typer.echo(f"Job: {job.folder}")


def _collect(kit: Path, out: Path, *, overwrite: bool) -> "list[Fingerprint]":
    """Ask the connected sites, keep what they sent, and say who sent nothing."""
    from fedgin.cli.follow_job import lead_console
    from fedgin.cli.interrupt import interruptible
    from fedgin.files import write_text
    from fedgin.flare.run.collect import collect_fingerprints
    from fedgin.flare.run.console import connect
    from fedgin.folders import check_writable, whole_folder
    from fedgin.planning.fingerprints import read_fingerprints

    folder = out.with_name(f"{out.resolve().name}-fingerprints")
    check_writable(folder, overwrite=overwrite)
    console = lead_console()
    with interruptible(console, "Nothing was planned."), connect(kit) as session:
        collected = collect_fingerprints(session, on_status=console.print)
    for site, reason in collected.refused.items():
        console.print(f"Left out: {site}: {reason}")
    if not collected.fingerprints:
        raise ConfigError("no site sent its fingerprint", "see above; ask the sites for 'share_fingerprint: true'")
    with whole_folder(folder, holds="fingerprints of sites", overwrite=overwrite) as part:
        for site, values in collected.fingerprints.items():
            write_text(part / f"{site}.json", json.dumps(values, indent=2) + "\n")
    console.print(f"Fingerprints: {folder}")
    return read_fingerprints([(f"site {site}", values) for site, values in collected.fingerprints.items()])


def _print(planned: "Plan") -> None:
    rows = [(item.key, item.value, item.reason, item.source) for item in planned.decisions]
    print_rows(("decision", "value", "why", "rule of"), rows, Format.TEXT, title=f"Plan of {planned.experiment.name}")
    for warning in planned.warnings:
        typer.echo(f"Look at: {warning}")

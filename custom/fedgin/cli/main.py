"""The ``fedgin`` command."""

from collections.abc import Mapping
from typing import ClassVar

import typer

import fedgin
from fedgin.cli.fault import faults_told
from fedgin.cli.lazy import LazyGroup
from fedgin.cli.site import site_app


class Verbs(LazyGroup):
    """The verbs of everybody but a site."""

    prefix = "fedgin.cli."
    summaries: ClassVar[Mapping[str, str]] = {
        "abort": "End a job, and wait until the server says that it ended.",
        "audit": "Show the participant's security log and FLARE's audit.log as one timeline; works on copied files.",
        "demo": "Compare MR alone, CT alone, FedAvg and FedGIN on the same sites, and write one HTML report.",
        "doctor": "Check the kit of the server or of a console, and the machine that it lies on; nothing is changed.",
        "export": "Write the run's model, its settings and a model card as a MONAI bundle.",
        "fetch": "Download model, logs and settings of a job that ended, write its report and say whether it is a "
        "success.",
        "jobs": "List the server's jobs in the order of their submission: state, place in the queue, and what each "
        "waits for.",
        "phantoms": "Write three sites of procedural phantoms (two CT, one MR with few cases) as NIfTI.",
        "plan": "Plan one job for all sites from their fingerprints, by the rules of nnU-Net, and print why.",
        "poc": "Prepare the workspace that `nvflare poc start` starts: server, sites, an admin and a lead, "
        "with our policies.",
        "predict": "Segment an image or every image of a folder, and write labels on their own grid, SEG and SR for "
        "DICOM.",
        "provision": "Issue startup kits with FLARE's provisioning, our policies and signatures.",
        "report": "Write report.html of a result anew, from what is in its folder, and say whether the job is a "
        "success.",
        "resume": "Submit the rest of a job that a crash of the server, a dead site or an abort ended early.",
        "run": "Submit a job as `submit_job` of the console does, print each round with the Dice of every site, "
        "fetch the result.",
        "serve": "Receive studies over DICOM, segment each, and send SEG and SR to the archive.",
        "simulate": "Run a job on this machine, without kits; print each round and write model and report, as "
        "`fedgin run` does.",
        "study": "Run every arm of a study that is not complete yet, then write scores.csv, tables and report.html.",
        "train": "Train alone what a job would train federated: the local or the centralised baseline.",
        "withdraw": "Let the running server refuse a site for good.",
    }


app = typer.Typer(
    cls=Verbs,
    help="Federated cross-modality segmentation with GIN on NVIDIA FLARE.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(site_app, name="site")


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(fedgin.__version__)
        raise typer.Exit


def run() -> None:
    """Run the command line; a foreseen error is one line on standard error and exit code 2."""
    with faults_told():
        app(standalone_mode=True)

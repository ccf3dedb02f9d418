"""The ``fedgin`` command."""

import sys

import typer
from rich.console import Console
from rich.markup import escape

import fedgin
from fedgin.cli.audit import audit
from fedgin.cli.demo import demo
from fedgin.cli.export import export
from fedgin.cli.phantoms import phantoms
from fedgin.cli.poc import poc
from fedgin.cli.predict import predict
from fedgin.cli.provision import provision
from fedgin.cli.resume import resume
from fedgin.cli.run import run as run_job
from fedgin.cli.site import site_app
from fedgin.cli.study import study
from fedgin.cli.train import train
from fedgin.cli.withdraw import withdraw
from fedgin.errors import FedginError

app = typer.Typer(
    help="Federated cross-modality segmentation with GIN on NVIDIA FLARE.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(audit)
app.command()(demo)
app.command()(export)
app.command()(phantoms)
app.command()(poc)
app.command()(predict)
app.command()(provision)
app.command()(resume)
app.command("run")(run_job)
app.command()(study)
app.command()(train)
app.command()(withdraw)
app.add_typer(site_app, name="site")


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(fedgin.__version__)
        raise typer.Exit


def run() -> None:
    """Run the command line; a foreseen error is one line on standard error and exit code 2."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        app(standalone_mode=True)
    except FedginError as error:
        errors.print(f"[bold red]Error:[/] {escape(error.problem)}")
        errors.print(f"[bold]Fix:[/]   {escape(error.fix)}")
        sys.exit(2)

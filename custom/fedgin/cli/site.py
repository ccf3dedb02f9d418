"""``fedgin site``: what a site's engineer does before the first round, and with an encrypted result."""

import typer

from fedgin.cli.site_decrypt import decrypt
from fedgin.cli.site_doctor import doctor
from fedgin.cli.site_ingest import ingest
from fedgin.cli.site_validate import validate

site_app = typer.Typer(help="Prepare and check the data and the machine of a site.", no_args_is_help=True)
site_app.command()(ingest)
site_app.command()(validate)
site_app.command()(doctor)
site_app.command()(decrypt)


@site_app.callback()
def _group() -> None:
    """Keep ``site`` a group of verbs, however many there are."""

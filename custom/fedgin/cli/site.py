"""``fedgin site``: what a site's engineer does before the first round, and with an encrypted result."""

from collections.abc import Mapping
from typing import ClassVar

import typer

from fedgin.cli.lazy import LazyGroup


class SiteVerbs(LazyGroup):
    """The verbs of a site, in the order in which its engineer needs them."""

    prefix = "fedgin.cli.site_"
    summaries: ClassVar[Mapping[str, str]] = {
        "ingest": "Convert the DICOM series that the rules select to NIfTI, read their labels, and list why others are "
        "left out.",
        "init": "Write site.yaml and datalist.json for a folder of images and labels. Nothing is copied, "
        "nothing overwritten.",
        "import": "Make sites of a public archive as it was unpacked. NIfTI files are linked, not copied; masks are "
        "merged.",
        "validate": "Check every case of a site; all are checked, even when some are wrong.",
        "doctor": "Check data, disk, memory, GPU, clock, versions and the kit with its way to the server; nothing is "
        "changed.",
        "decrypt": "Make an encrypted global model readable.",
    }


site_app = typer.Typer(
    cls=SiteVerbs, help="Prepare and check the data and the machine of a site.", no_args_is_help=True
)


@site_app.callback()
def _group() -> None:
    """Keep ``site`` a group of verbs, however many there are."""

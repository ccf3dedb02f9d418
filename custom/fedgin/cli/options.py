"""Options that several verbs share, each with one name and one meaning."""

from pathlib import Path
from typing import Annotated

import typer

from fedgin.cli.format import Format

MinSites = Annotated[
    int | None,
    typer.Option(min=1, help="How many of the connected sites every round needs. Default: all of them."),
]
Models = Annotated[
    Path | None, typer.Option(help="Folder with the file that network.pretrained of the job names; see docs/study.md.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in that folder.")]
Output = Annotated[Format, typer.Option("--format", help="What to print.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]

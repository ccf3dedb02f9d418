"""How verbs print tables: columns for people, JSON for programs."""

import json
from collections.abc import Iterable, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedgin.cli.format import Format
from fedgin.errors import one_line


def print_json(values: object) -> None:
    """Print JSON for a program; what JSON does not know is text."""
    typer.echo(json.dumps(values, indent=2, default=str))


def print_rows(headings: Sequence[str], rows: Iterable[Sequence[object]], output: Format, *, title: str = "") -> None:
    """Print rows, of which nothing is markup.

    Args:
        headings: of the columns; the keys of the JSON objects.
        rows: as many cells each. A zero, like an empty text, is an empty cell of a table; a list has a line for each
            item.
        output: ``json`` prints a list of objects.
        title: of the table.
    """
    if output is Format.JSON:
        print_json([dict(zip(headings, row, strict=True)) for row in rows])
        return
    table = Table(title=title or None)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    Console(highlight=False).print(table)


def _cell(value: object) -> Text:
    lines = value if isinstance(value, list) else [value]
    return Text("\n".join(one_line(str(line)) for line in lines if line))

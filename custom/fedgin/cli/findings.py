"""How verbs print findings: a table for people, JSON for programs."""

import json
from collections.abc import Iterable, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import fedgin
from fedgin.cli.format import Format
from fedgin.data.validation import Finding, Severity, worst

STYLES = {Severity.PASS: "green", Severity.WARN: "yellow", Severity.FAIL: "bold red"}


def print_findings(console: Console, findings: Iterable[Finding]) -> None:
    """Print a row for each finding, with what to do next below what was seen."""
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    for finding in findings:
        said = Text(finding.message)
        if finding.fix:
            said.append(f"\nFix: {finding.fix}", style="italic")
        table.add_row(Text(finding.severity, style=STYLES[finding.severity]), Text(finding.code, style="cyan"), said)
    console.print(table)


def end_examination(kind: str, name: str, findings: Sequence[Finding], output: Format) -> None:
    """Print the doctor's findings and leave with the exit code of the worst.

    Args:
        kind: the key of the name in JSON.
        name: what was examined.
        findings: of all checks.
        output: what to print.
    """
    verdict = worst(findings)
    if output is Format.JSON:
        said = {kind: name, "fedgin": fedgin.__version__, "verdict": verdict.value}
        typer.echo(json.dumps(said | {"findings": [finding.as_dict() for finding in findings]}, indent=2))
    else:
        console = Console(highlight=False)
        print_findings(console, findings)
        console.print(f"{name}: [bold]{verdict}[/]")
    raise typer.Exit(verdict.exit_code)

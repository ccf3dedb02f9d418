"""How verbs print findings: a table for people."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedgin.data.validation import Finding, Severity

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

"""Tables show every cell whole, whatever the width, and take nothing in them for markup."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedgin.cli.format import Format
from fedgin.cli.main import app
from fedgin.cli.tables import print_rows
from fedgin.flare.provisioning.kits import KitRow
from tests.places import ROOT


def columns(printed: str) -> list[str]:
    """Return each column's text, its folded lines joined."""
    rows = [line.split("│")[1:-1] for line in printed.splitlines() if line.startswith("│")]
    return ["".join(cell.strip() for cell in column) for column in zip(*rows, strict=True)]


def test_a_list_has_a_line_for_each_item(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(("a", "b"), [("x", ["[one]", "", "two\nforged"])], Format.TEXT)
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [["x", "[one]"], ["", "two\ufffdforged"]]


def test_provision_prints_names_and_contacts_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, contact = "hospital-" * 6 + "a", "[bold]Dr. X[/bold] <" + "it@department." * 5 + "example.org>"
    rows = [KitRow(name, contact, "withdrawn", None)]
    monkeypatch.setattr("fedgin.flare.provisioning.kits.issue_kits", lambda *_, **__: rows)
    sites = ROOT / "provisioning" / "sites.yaml"
    done = CliRunner().invoke(app, ["provision", str(sites), "--out", str(tmp_path)], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    found = columns(done.output)
    assert (found[0], found[4].replace(" ", "")) == (name, contact.replace(" ", ""))

"""The import arrows of the house: cli -> {study, deploy, flare} -> train -> {augment, nets, data}."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "custom" / "fedgin"
# What every package may use: errors, documents, settings, seeds, files, text, registry of names and the kit's manifest.
COMMON = {"errors", "config", "documents", "seeds", "files", "text", "registry", "manifest"}
ALLOWED = {
    "augment": COMMON,
    "nets": COMMON,
    "data": COMMON,
    "train": COMMON | {"augment", "nets", "data"},
    "flare": COMMON | {"train", "nets", "data"},
    "study": COMMON | {"flare", "train", "augment", "nets", "data"},
    "deploy": COMMON | {"train", "nets", "data"},
    "cli": COMMON | {"study", "deploy", "flare", "train", "augment", "nets", "data"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Return every absolutely imported module name of a file; relative imports are named as such."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_arrows_point_one_way(path: Path) -> None:
    home = path.relative_to(PACKAGE).parts[0]
    reached = {name.split(".")[1] for name in imported(path) if name.startswith("fedgin.")}
    allowed = ALLOWED.get(home, COMMON) | {home.removesuffix(".py")}
    assert reached <= allowed


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_flare_knows_flare_and_nothing_runs_configured_code(path: Path) -> None:
    names = {name.split(".")[0] for name in imported(path)}
    assert "nvflare" not in names or path.relative_to(PACKAGE).parts[0] == "flare"
    assert not names & {"pickle", "cloudpickle", "dill", "shelve", "marshal"}
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    named = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
    assert not named & {"eval", "exec", "compile", "__import__"}


def test_every_package_is_in_the_map() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages <= set(ALLOWED)
    assert {path.stem for path in PACKAGE.glob("*.py")} == COMMON | {"__init__"}

"""The import arrows of the house, as docs/architecture.md draws them, between its rooms and inside ``flare``."""

import ast
import re
from pathlib import Path

import pytest

from tests.places import ROOT

PACKAGE = ROOT / "custom" / "fedgin"
# What every room may use: errors, documents, settings, seeds, files, folders, processes, names, the kit's manifest.
COMMON = {"errors", "page", "config", "documents", "seeds", "files", "folders", "processes", "registry", "manifest"}
SITE_SIDE = {"data", "nets", "augment"}
ALLOWED = {
    "augment": COMMON,
    "nets": COMMON,
    "data": COMMON,
    "phantoms": COMMON | {"data"},
    "train": COMMON | SITE_SIDE,
    "flare": COMMON | {"train", "nets", "data"},
    "deploy": COMMON | {"train"} | SITE_SIDE,
    "study": COMMON | {"flare", "train", "phantoms"} | SITE_SIDE,
    "report": COMMON | {"study", "flare", "deploy", "train"} | SITE_SIDE,
    "cli": COMMON | {"report", "study", "flare", "deploy", "train", "phantoms"} | SITE_SIDE,
}
# Inside flare: what runs at the server and what runs at a site never import each other.
FLARE_COMMON = {"protocol", "participation", "audit"}
FLARE_ALLOWED = {
    "audit": set[str](),
    "participation": set[str](),
    "protocol": set[str](),
    "jobs": FLARE_COMMON,
    "client": FLARE_COMMON | {"jobs"},
    "server": FLARE_COMMON | {"jobs"},
    "provisioning": FLARE_COMMON | {"jobs"},
    "run": FLARE_COMMON | {"jobs", "server", "provisioning"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Return every absolutely imported module name of a file; relative imports are named as such."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # What is imported may be a module itself.
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_arrows_point_one_way(path: Path) -> None:
    home = path.relative_to(PACKAGE).parts[0]
    reached = {name.split(".")[1] for name in imported(path) if name.startswith("fedgin.")}
    allowed = ALLOWED.get(home, COMMON) | {home.removesuffix(".py"), "__version__"}
    assert reached <= allowed


@pytest.mark.parametrize("path", sorted((PACKAGE / "flare").rglob("*.py")), ids=lambda path: path.name)
def test_arrows_inside_flare_point_one_way(path: Path) -> None:
    home = path.relative_to(PACKAGE / "flare").parts[0].removesuffix(".py")
    names = [name.split(".") for name in imported(path) if name.startswith("fedgin.flare.")]
    assert {name[2] for name in names} <= FLARE_ALLOWED.get(home, set()) | {home}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_flare_knows_flare_and_nothing_runs_configured_code(path: Path) -> None:
    names = {name.split(".")[0] for name in imported(path)}
    assert "nvflare" not in names or path.relative_to(PACKAGE).parts[0] == "flare"
    assert not names & {"pickle", "cloudpickle", "dill", "shelve", "marshal"}
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    named = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
    assert not named & {"eval", "exec", "compile", "__import__"}


def test_every_room_is_in_the_map() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(ALLOWED)
    assert {path.stem for path in PACKAGE.glob("*.py")} == COMMON | {"__init__"}
    inside = {path.stem for path in (PACKAGE / "flare").iterdir() if path.stem not in {"__init__", "__pycache__"}}
    assert inside == set(FLARE_ALLOWED)


def drawn(heading: str) -> dict[str, set[str]]:
    """Return the arrows of one table of docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split(heading)[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \|(.*?)\|", text, re.MULTILINE)
    return {room: set(re.findall(r"`(\w+)`", arrows)) for room, arrows in rows}


def test_the_document_draws_these_arrows() -> None:
    assert drawn("| room | may import |") == {room: arrows - COMMON for room, arrows in ALLOWED.items()}
    assert drawn("| part | may import |") == {part: arrows - FLARE_COMMON for part, arrows in FLARE_ALLOWED.items()}


@pytest.mark.parametrize("room", ["benchmarks", "poc", "provisioning"])
def test_what_others_run_needs_nothing_of_the_tests(room: str) -> None:
    names = {name for path in (ROOT / room).rglob("*.py") for name in imported(path)}
    assert not {name for name in names if name.split(".")[0] == "tests"}

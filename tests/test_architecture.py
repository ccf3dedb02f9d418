"""The import arrows of the house, as docs/architecture.md draws them, between its rooms and inside ``flare``."""

import ast
import functools
import re
from pathlib import Path

import pytest

from tests.places import ROOT

PACKAGE = ROOT / "custom" / "fedgin"
# What every room may use: errors, documents, settings, seeds, files, folders, processes, names, the kit's manifest.
COMMON = {"errors", "page", "config", "documents", "seeds", "files", "folders", "processes", "registry", "manifest"}
COMMON |= {"kit_path", "lean_imports", "launch", "fork_server"}
SITE_SIDE = {"data", "nets", "augment"}
ALLOWED = {
    "augment": COMMON,
    "nets": COMMON,
    "data": COMMON,
    "phantoms": COMMON | {"data"},
    "train": COMMON | SITE_SIDE,
    "flare": COMMON | {"train", "nets", "data"},
    "deploy": COMMON | {"train"} | SITE_SIDE,
    "planning": COMMON | {"train", "nets", "data"},
    "study": COMMON | {"flare", "train", "phantoms"} | SITE_SIDE,
    "report": COMMON | {"study", "flare", "deploy", "train"} | SITE_SIDE,
    "cli": COMMON | {"report", "study", "flare", "deploy", "planning", "train", "phantoms"} | SITE_SIDE,
}
# Inside flare: what runs at the server and what runs at a site never import each other.
FLARE_COMMON = {"protocol", "participation", "organ_table", "collection", "array_limit", "federated_events"}
FLARE_COMMON |= {"light_messages", "audit", "process"}
FLARE_ALLOWED = {
    "audit": {"federated_events", "light_messages"},
    "federated_events": {"protocol"},
    "light_messages": set[str](),
    "process": set[str](),
    "job_launchers": {"process"},
    "participation": set[str](),
    "organ_table": set[str](),
    "collection": set[str](),
    "array_limit": set[str](),
    "protocol": set[str](),
    "jobs": FLARE_COMMON,
    "client": FLARE_COMMON | {"jobs"},
    "server": FLARE_COMMON | {"jobs"},
    "provisioning": FLARE_COMMON | {"jobs"},
    "run": FLARE_COMMON | {"jobs", "server", "provisioning"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


@functools.cache
def parsed(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imported(path: Path) -> set[str]:
    """Return every absolutely imported module name of a file; relative imports are named as such."""
    names: set[str] = set()
    for node in parsed(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # What is imported may be a module itself.
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def called(path: Path) -> set[str]:
    calls = [node.func for node in parsed(path) if isinstance(node, ast.Call)]
    return {function.id for function in calls if isinstance(function, ast.Name)}


def faulty(found: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the files with something that must not be there, so that one run shows all of them."""
    return {name: what for name, what in found.items() if what}


def test_arrows_point_one_way() -> None:
    found = {}
    for path in FILES:
        inside = path.relative_to(PACKAGE)
        reached = {name.split(".")[1] for name in imported(path) if name.startswith("fedgin.")}
        home = inside.parts[0]
        found[inside.as_posix()] = reached - ALLOWED.get(home, COMMON) - {home.removesuffix(".py"), "__version__"}
    assert faulty(found) == {}


def test_arrows_inside_flare_point_one_way() -> None:
    found = {}
    for path in sorted((PACKAGE / "flare").rglob("*.py")):
        inside = path.relative_to(PACKAGE / "flare")
        home = inside.parts[0].removesuffix(".py")
        reached = {name.split(".")[2] for name in imported(path) if name.startswith("fedgin.flare.")}
        found[inside.as_posix()] = reached - FLARE_ALLOWED.get(home, set()) - {home}
    assert faulty(found) == {}


def test_only_flare_knows_flare() -> None:
    others = [path for path in FILES if path.relative_to(PACKAGE).parts[0] != "flare"]
    assert [path for path in others if "nvflare" in roots(path)] == []


def test_nothing_runs_configured_code() -> None:
    modules = {"pickle", "cloudpickle", "dill", "shelve", "marshal"}
    functions = {"eval", "exec", "compile", "__import__"}
    found = {str(path.relative_to(PACKAGE)): roots(path) & modules | called(path) & functions for path in FILES}
    assert faulty(found) == {}


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

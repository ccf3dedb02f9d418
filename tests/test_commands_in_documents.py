"""Every ``fedgin`` command and make target that a document shows exists, with the options that it shows."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from fedgin.cli.main import app
from tests.places import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("studies/*.yaml")])
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
PROMPT = re.compile(r"^(?:\$ |#\s+)?(?:\S*bin/)?(fedgin [a-z].*)$")
TARGET = re.compile(r"^make ([a-z-]+)")


def lines(path: Path) -> Iterator[str]:
    """Yield what a document shows as code: lines of its blocks, with continuations joined, and spans in its prose."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        yield from text.splitlines()
        return
    for _, block in FENCED.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    for span in SPAN.findall(FENCED.sub("", text)):
        yield " ".join(span.split())


@cache
def cli() -> Any:
    return typer.main.get_command(app)


def fault(words: list[str]) -> str:
    """Say what of ``fedgin WORDS`` does not exist."""
    context = cli().make_context("fedgin", [], resilient_parsing=True)
    left = words[1:]
    while left and hasattr(context.command, "get_command") and not left[0].startswith("-"):
        name, *left = left
        verb = context.command.get_command(context, name)
        if verb is None:
            return f"no verb '{name}'"
        # A verb may be imported only when its context is made.
        context = verb.make_context(name, [], parent=context, resilient_parsing=True)
    known = {option for parameter in context.command.params for option in parameter.opts} | {"--help"}
    shown = {word.partition("=")[0] for word in left if re.match(r"--[a-z]", word)}
    return "".join(f"no option '{option}'" for option in sorted(shown - known))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_fedgin_command_exists_with_its_options(path: Path) -> None:
    commands = [match.group(1) for match in map(PROMPT.match, lines(path)) if match]
    faults = {command: fault(shlex.split(command, comments=True)) for command in commands}
    assert {command: said for command, said in faults.items() if said} == {}


def test_commands_are_found_in_the_guides() -> None:
    found = {path.name: sum(bool(PROMPT.match(line)) for line in lines(path)) for path in DOCUMENTS}
    assert min(found[name] for name in ("README.md", "project-lead.md", "site-engineer.md")) >= 5


def test_an_unknown_verb_and_an_unknown_option_are_noticed() -> None:
    assert fault(["fedgin", "site", "valdate", "site.yaml"]) == "no verb 'valdate'"
    assert fault(["fedgin", "demo", "--site", "x", "--rounds", "3"]) == "no option '--site'"


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown = {match.group(1) for path in DOCUMENTS for match in map(TARGET.match, lines(path)) if match}
    assert shown <= targets

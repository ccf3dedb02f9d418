"""Commands that the documentation gives for benchmarks and scripts start, as written, from the repository root."""

import os
import re
import subprocess
import sys

import pytest

from tests.places import ROOT

TEXTS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("studies/*.yaml"),
    *ROOT.glob("benchmarks/*.py"),
    *ROOT.glob("poc/*.py"),
]
COMMAND = re.compile(r"(PYTHONPATH=\. )?\bpython (-m benchmarks\.\w+|benchmarks/\S+\.py|poc/\S+\.py)")


def commands() -> list[str]:
    found = {match.group() for path in TEXTS for match in COMMAND.finditer(path.read_text(encoding="utf-8"))}
    return sorted(found)


def start(command: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run a command's Python with FedGIN installed, but with the repository root on no path."""
    prefix, arguments = command.split("python ")
    path = [str(ROOT / "custom"), *("." for _ in [prefix] if prefix)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    line = [sys.executable, *arguments.split(" "), *options]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [command for command in commands() if " -m " not in command])
def test_a_script_starts(command: str) -> None:
    found = start(command, "--help")
    assert found.returncode == 0, found.stderr


def test_every_benchmark_is_started_as_a_module_that_imports() -> None:
    modules = [command.split(" -m ")[1] for command in commands() if " -m " in command]
    assert {f"benchmarks.{path.stem}" for path in ROOT.glob("benchmarks/[!_]*.py")} == set(modules)
    # One process for all of them: "-c" puts the current folder first on the path, as "-m" does.
    found = start("python -c", f"import {', '.join(modules)}")
    assert found.returncode == 0, found.stderr

"""Python and the installed packages against the lock: other versions are other arithmetic, or no connection at all."""

import platform
import re
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from fedgin.data.validation.findings import Finding, fail, passed, warn

SHOWN = 8


def check_python() -> list[Finding]:
    """Check this Python against the range that the package declares."""
    wanted = metadata("fedgin")["Requires-Python"]
    running = platform.python_version()
    if running in SpecifierSet(wanted):
        return [passed("python", f"Python {running}")]
    return [fail("python", f"Python {running}, but fedgin needs {wanted}", "make the environment with that Python")]


def check_packages(lock: Path) -> list[Finding]:
    """Check each pin of a requirements file against what is installed.

    Args:
        lock: lines such as ``torch==2.13.0``, with or without hashes; comments and options are passed over.
    """
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        fix = "give the requirements.txt that came with this release: --lock requirements.txt"
        return [warn("packages", "versions were not compared: there is no lock file", fix)]
    pins = [pin for line in lines if (pin := _parse(line))]
    if not pins:
        fix = "give the requirements.txt of this release or the requirements.lock of its wheelhouse with --lock"
        return [fail("packages", "the lock file pins no package", fix)]
    wrong = [difference for pin in pins if (difference := _compare(pin))]
    if not wrong:
        return [passed("packages", f"{len(pins)} packages have the locked versions")]
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    fix = "pip install -r requirements.txt in the environment that runs FLARE"
    return [fail("packages", f"not as locked: {', '.join(wrong[:SHOWN])}{more}", fix)]


def _parse(line: str) -> Requirement | None:
    """Return the pin of a line; ``None`` for comments, options and pins for another system.

    A lock has hashes behind the pin, on the same line or after a backslash on further ones.
    """
    try:
        pin = Requirement(re.split(r"(?:^|\s)(?:#|--|\\)", line, maxsplit=1)[0].strip())
    except InvalidRequirement:
        return None
    return pin if pin.marker is None or pin.marker.evaluate() else None


def _compare(pin: Requirement) -> str | None:
    """Say how the installed package differs; a local build such as 2.13.0+cpu is the version that it builds."""
    try:
        installed = version(pin.name)
    except PackageNotFoundError:
        return f"{pin.name} is missing"
    return None if pin.specifier.contains(installed, prereleases=True) else f"{pin.name} {installed} ({pin.specifier})"

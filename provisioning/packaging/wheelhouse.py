"""Collect every wheel that a site installs, with hashes, for installation without a network.

    python provisioning/packaging/wheelhouse.py build/wheelhouse

At the site: ``pip install --no-index --find-links . --require-hashes -r requirements.lock`` inside the folder.
"""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from packaging.utils import parse_wheel_filename

from fedgin.cli.fault import faults_told
from fedgin.errors import ConfigError
from fedgin.folders import whole_folder

ROOT = Path(__file__).resolve().parents[2]


def main(
    out: Annotated[Path, typer.Argument(help="Folder for the wheels and requirements.lock.")],
) -> None:
    """Fill OUT with the wheels of the pins and of this package, and write OUT/requirements.lock.

    An earlier wheelhouse is replaced as a whole, so that no wheel of an older version stays in it.
    """
    with faults_told(), whole_folder(out, holds="a wheelhouse") as part:
        _wheel(part, *(f"--requirement={ROOT / name}" for name in ("requirements.txt", "requirements-encryption.txt")))
        _wheel(part, str(ROOT))
        wheels = len(write_lock(part).read_text(encoding="utf-8").splitlines())
    typer.echo(f"{wheels} wheels, {sum(path.stat().st_size for path in out.iterdir()) >> 20} MiB: {out}")


def _wheel(folder: Path, *what: str) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(folder), "--no-deps"]
    code = subprocess.run([*command, *what], check=False).returncode
    if code:
        fix = "read pip's lines above; behind a proxy, export HTTPS_PROXY, and PIP_CERT if it has a root of its own"
        raise ConfigError(f"pip ended with code {code}, so there is no new wheelhouse", fix)


def write_lock(folder: Path) -> Path:
    """Write ``requirements.lock``: one line a wheel, with its version and hash."""
    lines = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    lock = folder / "requirements.lock"
    lock.write_text("".join(lines), encoding="utf-8")
    return lock


if __name__ == "__main__":
    typer.run(main)

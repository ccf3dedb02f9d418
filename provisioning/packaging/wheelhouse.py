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

ROOT = Path(__file__).resolve().parents[2]


def main(
    out: Annotated[Path, typer.Argument(help="Folder for the wheels and requirements.lock.")],
) -> None:
    """Fill OUT with the wheels of the pins and of this package, and write OUT/requirements.lock."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(out), "--no-deps"]
    pins = (f"--requirement={ROOT / name}" for name in ("requirements.txt", "requirements-encryption.txt"))
    subprocess.run([*pip, *pins], check=True)
    subprocess.run([*pip, str(ROOT)], check=True)
    lock = write_lock(out)
    typer.echo(
        f"{len(lock.read_text().splitlines())} wheels, {sum(p.stat().st_size for p in out.iterdir()) >> 20} MiB: {out}"
    )


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

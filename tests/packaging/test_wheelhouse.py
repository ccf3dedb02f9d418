"""A wheelhouse that pip itself accepts, or refuses when one byte is another."""

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from provisioning.packaging import wheelhouse
from provisioning.packaging.wheelhouse import write_lock
from tests.places import ROOT


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A wheelhouse of two tiny packages."""
    house = tmp_path / "house"
    house.mkdir()
    for name in ("first", "second_package"):
        with zipfile.ZipFile(house / f"{name}-1.2.0-py3-none-any.whl", "w") as wheel:
            info = f"{name}-1.2.0.dist-info"
            wheel.writestr(f"{name}.py", "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return house


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    found = [Requirement(line.split("#")[0]) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(item.name): str(item.specifier).removeprefix("==") for item in found}


def test_every_package_that_a_pinned_one_needs_is_pinned_to_a_version_it_accepts() -> None:
    """Otherwise an installation without a network fails, though every other one succeeds."""
    pinned = pins()
    for name in pinned:
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                version = pinned.get(canonicalize_name(needed.name))
                assert version is not None, f"{name} needs {needed.name}, which is not pinned"
                assert needed.specifier.contains(version, prereleases=True), f"{name} needs {needed}, pinned {version}"


def install(house: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", ".", "--require-hashes"]
    return subprocess.run(
        [*command, "--target", str(target), "-r", "requirements.lock"],
        cwd=house,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_installs_without_a_network(house: Path, tmp_path: Path) -> None:
    write_lock(house)
    done = install(house, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "site").glob("*.py")} == {"first.py", "second_package.py"}


def test_an_altered_wheel_is_refused(house: Path, tmp_path: Path) -> None:
    write_lock(house)
    with zipfile.ZipFile(house / "first-1.2.0-py3-none-any.whl", "a") as wheel:
        wheel.writestr("evil.py", "")
    done = install(house, tmp_path / "site")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_a_missing_hash_is_refused(house: Path, tmp_path: Path) -> None:
    lock = write_lock(house)
    lock.write_text(lock.read_text().replace(lock.read_text().splitlines()[1], "second-package==1.2.0"))
    done = install(house, tmp_path / "site")
    assert done.returncode != 0
    assert "hash" in done.stderr.lower()


def stand_in_for_pip(monkeypatch: pytest.MonkeyPatch, *wheels: str, code: int = 0) -> None:
    """Let pip put these wheels where it is told to, without a network."""

    def fill(command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        for name in wheels:
            Path(command[command.index("--wheel-dir") + 1], name).write_text(name)
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", fill)


def test_a_new_wheelhouse_keeps_no_wheel_of_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("1.0", "2.0"):
        stand_in_for_pip(monkeypatch, f"first-{version}-py3-none-any.whl")
        wheelhouse.main(tmp_path / "house")
    assert [path.name for path in (tmp_path / "house").glob("*.whl")] == ["first-2.0-py3-none-any.whl"]
    assert (tmp_path / "house" / "requirements.lock").read_text().startswith("first==2.0 --hash=sha256:")


def test_a_folder_of_somebody_else_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in_for_pip(monkeypatch, "first-1.0-py3-none-any.whl")
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(SystemExit):
        wheelhouse.main(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert "holds files that fedgin did not write" in capsys.readouterr().err


def test_a_wheelhouse_that_pip_could_not_fill_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in_for_pip(monkeypatch, "first-1.0-py3-none-any.whl")
    wheelhouse.main(tmp_path / "house")
    stand_in_for_pip(monkeypatch, "first-2.0-py3-none-any.whl", code=1)
    with pytest.raises(SystemExit):
        wheelhouse.main(tmp_path / "house")
    assert [path.name for path in tmp_path.iterdir()] == ["house"]
    assert [path.name for path in (tmp_path / "house").glob("*.whl")] == ["first-1.0-py3-none-any.whl"]
    assert "behind a proxy, export HTTPS_PROXY" in capsys.readouterr().err

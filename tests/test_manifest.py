import json
from pathlib import Path

import pytest

import fedgin
from fedgin.errors import ConfigError
from fedgin.manifest import check_manifest, package_hash, write_manifest


def test_the_manifest_names_package_version_and_hash(tmp_path: Path) -> None:
    write_manifest(tmp_path)
    expected = {"package": "fedgin", "version": fedgin.__version__, "sha256": package_hash()}
    assert json.loads((tmp_path / "fedgin.json").read_text()) == expected


def test_the_package_that_wrote_a_manifest_fits_it(tmp_path: Path) -> None:
    write_manifest(tmp_path)
    check_manifest(tmp_path)


@pytest.mark.parametrize(("key", "value"), [("version", "0.0.9"), ("sha256", "0" * 64)])
def test_another_package_is_told_with_both_versions_and_hashes(tmp_path: Path, key: str, value: str) -> None:
    write_manifest(tmp_path)
    path = tmp_path / "fedgin.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    expected = {"version": fedgin.__version__, "sha256": package_hash()} | {key: value}
    with pytest.raises(ConfigError) as caught:
        check_manifest(tmp_path)
    assert f"the kit expects fedgin {expected['version']} ({expected['sha256'][:12]})" in caught.value.problem
    assert f"installed is {fedgin.__version__} ({package_hash()[:12]})" in caught.value.problem
    assert f"install fedgin {expected['version']}" in caught.value.fix


@pytest.mark.parametrize("text", [None, "", "[]", '{"version": 1}', "[" * 100_000])
def test_a_missing_or_damaged_manifest_is_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "fedgin.json").write_text(text)
    with pytest.raises(ConfigError, match="no readable"):
        check_manifest(tmp_path)


def test_the_hash_depends_on_names_and_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "fedgin"
    (package / "__pycache__").mkdir(parents=True)
    monkeypatch.setattr(fedgin, "__file__", str(package / "__init__.py"))
    hashes = []
    for name, text in [("a.py", "1"), ("a.py", "2"), ("b.py", "2")]:
        (package / name).write_text(text)
        hashes.append(package_hash())
    (package / "__pycache__" / "a.pyc").write_text("compiled")
    assert package_hash() == hashes[-1]
    assert len(set(hashes)) == 3

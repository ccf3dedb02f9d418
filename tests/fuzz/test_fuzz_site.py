import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from fedgin.data.datalist import list_cases
from fedgin.data.site import load_site
from tests.fuzz.mutations import PRIVATE, as_yaml, damaged, explains, fuzz, raw, spliced

pytestmark = pytest.mark.timeout(300)
CONTRACT: dict[str, Any] = {
    "site": "hospital-a",
    "modality": "MR",
    "data_root": f"data-{PRIVATE}",
    "datalist": f"list-{PRIVATE}.json",
    "labels": {"liver": 1, "spleen": 2, "kidneys": [3, 4]},
    "device": "cuda:1",
    "png": {"pixel_mm": 0.7, "axes": "LP"},
    "cache_dir": f"cache-{PRIVATE}",
    "limits": {"cpu_threads": 2, "gpu_memory_fraction": 0.5},
}
TEXT = b"""# site
site: hospital-a
modality: CT   # CT or MR
data_root: data-Q7X9
datalist: 'list-Q7X9.json'
labels: {liver: 1, spleen: 2}
png:
  pixel_mm: 0.7
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with one case a split, and what a path may lead to beside them: a pipe, a loop, a closed folder."""
    folder = tmp_path_factory.mktemp("site")
    data = folder / CONTRACT["data_root"]
    data.mkdir()
    for name in "ab":
        (data / f"{name}.nii.gz").touch()
    entries = {
        split: [{"image": f"{name}.nii.gz", "label": "a.nii.gz"}]
        for split, name in (("training", "a"), ("validation", "b"))
    }
    (data / CONTRACT["datalist"]).write_text(json.dumps(entries))
    for place in (folder, data):
        os.mkfifo(place / "pipe")
        (place / "loop").symlink_to("loop")
        (place / "closed").mkdir(mode=0o000)
    return folder


@fuzz("site")
@given(content=damaged(CONTRACT).map(as_yaml) | spliced(TEXT) | raw)
def test_a_contract_is_read_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "site.yaml"
    path.write_bytes(content)
    explains(lambda: list_cases(load_site(path)))


@pytest.mark.parametrize(
    "name", ["pipe", "loop", "loop/in", "closed/in", "/dev/zero", "/", ".", "x" * 300, "a/" * 3000]
)
@pytest.mark.parametrize("key", ["data_root", "datalist", "cache_dir"])
def test_a_path_leads_to_data_or_to_an_answer(folder: Path, key: str, name: str) -> None:
    path = folder / "site.yaml"
    path.write_bytes(as_yaml(CONTRACT | {key: name}))
    explains(lambda: load_site(path))


@pytest.mark.parametrize("name", ["pipe", "loop", "closed", "/dev/zero", "x" * 300])
def test_a_contract_that_is_no_regular_file_is_refused(folder: Path, name: str) -> None:
    assert not explains(lambda: load_site(folder / name))


BOMBS = {
    "aliases": "a: &a [x, x]\n"
    + "".join(f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
    "merges": "a: &a {x: 1}\n<<: [*a, *a]\n",
    "self": "a: &a [*a]\n",
    "flow": "a: " + "[" * 100_000,
    "block": "- " * 100_000,
    "keys": "? " * 100_000,
    "sexagesimal": "a: " + "1:" * 100_000 + "1",
    "sexagesimal float": "a: " + "1:" * 400 + "1.5",
    "digits": "a: " + "9" * 200_000,
    "hexadecimal": "a: 0x" + "f" * 200_000,
    "size": "a: b\n" * 1_000_000,
    "twice": "site: a\nsite: b\n",
    "object": "a: !!python/object/apply:os.system ['touch fedgin-canary']\n",
    "date": "a: 2026-13-45\n",
    "NUL": 'site: "a\\0"\n',
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "site.yaml").write_text(BOMBS[name])
    assert not explains(lambda: load_site(tmp_path / "site.yaml"))

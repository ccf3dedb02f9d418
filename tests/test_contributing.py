"""The examples of CONTRIBUTING.md work as they stand: each is a whole file, imported and used by its name."""

import doctest
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fedgin.augment import build_augmentation
from fedgin.augment.registry import AUGMENTATIONS
from fedgin.data.site import Modality, load_site
from fedgin.nets.registry import NETWORKS, build_network
from fedgin.nets.settings import NetworkSettings, SpatialDims
from fedgin.registry import Registry
from tests.places import ROOT

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTIONS = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")
EXAMPLES = {section.splitlines()[0]: code for section in SECTIONS for code in BLOCK.findall(section)}


def imported(title: str, folder: Path) -> ModuleType:
    """Write an example to a file and import it."""
    path = folder / "example.py"
    path.write_text(EXAMPLES[title], encoding="utf-8")
    specification = importlib.util.spec_from_file_location("example", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the examples out of the registries again, whose names other tests list."""
    registries: list[Registry[object]] = [AUGMENTATIONS, NETWORKS]  # type: ignore[list-item]
    for registry in registries:
        registry.names()
        monkeypatch.setattr(registry, "_factories", dict(registry._factories))


def test_a_method_is_found_by_its_name_and_shows_the_negative(tmp_path: Path) -> None:
    module = imported("Add a method", tmp_path)
    image = torch.rand(3, 1, 8, 8) + 1.0
    shown = build_augmentation("negative", strength=2.0)(image, gen=torch.Generator().manual_seed(5))
    contrast = -(shown / image).flatten(1)
    assert torch.allclose(contrast, contrast[:, :1])
    assert bool(((contrast >= 1.0) & (contrast <= 2.0)).all())
    assert doctest.testmod(module) == doctest.TestResults(failed=0, attempted=4)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_network_is_found_by_its_name_and_gives_logits(dims: SpatialDims, tmp_path: Path) -> None:
    imported("Add a network", tmp_path)
    settings = NetworkSettings(name="basic_unet", params={"width": 4})
    network = build_network(settings, spatial_dims=dims, out_channels=3, seed=0)
    size = (32,) * dims
    assert network(torch.zeros(1, 1, *size)).shape == (1, 3, *size)


def test_an_importer_writes_a_site_that_loads(tmp_path: Path) -> None:
    module = imported("Add an importer", tmp_path)
    for number in range(10):
        (tmp_path / f"data/p{number}").mkdir(parents=True)
        (tmp_path / f"data/p{number}/image.nii.gz").touch()
    labels = {"liver": 1}
    path = module.write_patient_folders(
        tmp_path / "site-1", tmp_path / "data", modality=Modality.CT, label_ids=labels, seed=1
    )
    splits = json.loads(load_site(path).datalist.read_text(encoding="utf-8"))
    assert {split: len(entries) for split, entries in splits.items()} == {"training": 6, "validation": 2, "test": 2}
    assert len({entry["patient"] for entries in splits.values() for entry in entries}) == 10

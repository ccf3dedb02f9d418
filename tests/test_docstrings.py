"""The examples in docstrings are run, and every augmentation and metric has one."""

import doctest
import importlib
import inspect

import pytest

from fedgin.augment.registry import AUGMENTATIONS
from fedgin.train.evaluate import scores, surface_metrics
from tests.places import ROOT

PACKAGE = ROOT / "custom" / "fedgin"
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_do_what_they_say(module: str) -> None:
    tried = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert tried.attempted > 0
    assert tried.failed == 0


def test_every_augmentation_has_an_example() -> None:
    methods = [type(AUGMENTATIONS.build(name, {})) for name in AUGMENTATIONS.names()]
    # Other tests file methods of their own.
    ours = [method for method in methods if method.__module__.startswith("fedgin.")]
    assert len(ours) >= 10
    assert [method.__name__ for method in ours if ">>> " not in (inspect.getdoc(method) or "")] == []


@pytest.mark.parametrize("metric", [scores.mean_dice, scores.mean_dice_by_organ, surface_metrics.compare_surfaces])
def test_every_metric_has_an_example(metric: object) -> None:
    assert ">>> " in (inspect.getdoc(metric) or "")

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from fedgin.study.plan import load_study
from tests.fuzz.mutations import as_yaml, damaged, explains, fuzz, raw, spliced

pytestmark = pytest.mark.timeout(300)
STUDY: dict[str, Any] = {
    "name": "abdomen",
    "title": "t",
    "note": "n",
    "sites": ".",
    "job": ".",
    "rounds": 2,
    "settings": {"training": {"local_steps": 4}},
    "methods": {"mine": {"augmentation": {"name": "gin"}}},
    "blocks": [
        {
            "regimes": ["mr_only", "federated"],
            "methods": ["none", "mine"],
            "seeds": [1, 2],
            "training_patients": {"CT": 3},
        }
    ],
}
TEXT = b"""name: abdomen
title: t
note: >-
  A sentence.
sites: .
job: .
rounds: 2
methods: {mine: {augmentation: {name: gin}}}
blocks:
  - {regimes: [mr_only], methods: [none, mine], seeds: [1]}
"""


def read(path: Path) -> None:
    """Read a study and name its arms, which become folders."""
    study = load_study(path)
    assert all("/" not in spec.name and study.changes(spec) for spec in study.arms())


@fuzz("study")
@given(content=damaged(STUDY).map(as_yaml) | spliced(TEXT) | raw)
def test_a_study_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "study.yaml"
    path.write_bytes(content)
    explains(lambda: read(path))


def test_a_study_whose_lists_multiply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    block = {"regimes": ["mr_only"], "methods": ["none"] * 3000, "seeds": list(range(9000))}
    path.write_bytes(as_yaml(STUDY | {"blocks": [block] * 3}))
    assert not explains(lambda: read(path))


def test_the_largest_study_is_counted_in_time(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    block = {"regimes": ["mr_only"] * 4, "methods": ["none"] * 100, "seeds": [1] * 100}
    path.write_bytes(as_yaml(STUDY | {"blocks": [block] * 10}))
    assert explains(lambda: read(path))

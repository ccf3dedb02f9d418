from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedgin.config import parse_settings
from fedgin.data.privacy import Privacy
from fedgin.data.site import load_site
from fedgin.errors import ConfigError
from tests.sites import write_site

NOISE: dict[str, Any] = {"clip_norm": 1.0, "noise_multiplier": 2.0, "delta": 1e-5, "epsilon_budget": 8.0}


def test_a_site_without_the_section_protects_nothing(tmp_path: Path) -> None:
    assert load_site(write_site(tmp_path, "site-1")).privacy is None


def test_the_section_is_read_as_people_write_it(tmp_path: Path) -> None:
    path = write_site(tmp_path, "site-1")
    text = "privacy: {clip_norm: 1, noise_multiplier: 2, delta: 1e-5, epsilon_budget: 8, exclude_layers: [model.2]}\n"
    path.write_text(path.read_text() + text)
    privacy = load_site(path).privacy
    assert privacy == Privacy(**NOISE, exclude_layers=("model.2",))


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({}, "sets nothing"),
        ({"exclude_layers": []}, "sets nothing"),
        ({"clip_nrom": 1.0}, "'privacy.clip_nrom': unknown key"),
        ({"clip_norm": 0}, "'privacy.clip_norm'"),
        ({"clip_norm": float("nan")}, "NaN and infinity"),
        ({"clip_norm": float("inf")}, "NaN and infinity"),
        (NOISE | {"noise_multiplier": 0}, "'privacy.noise_multiplier'"),
        (NOISE | {"delta": 0}, "'privacy.delta'"),
        (NOISE | {"delta": 0.5}, "'privacy.delta'"),
        (NOISE | {"epsilon_budget": float("inf")}, "NaN and infinity"),
        (NOISE | {"epsilon_budget": float("nan")}, "NaN and infinity"),
        ({"keep_largest_percent": 100}, "'privacy.keep_largest_percent'"),
        ({"exclude_layers": ["model.*"]}, "'privacy.exclude_layers.1'"),
        ({"exclude_layers": [""]}, "'privacy.exclude_layers.1'"),
        ({"exclude_layers": "model"}, "'privacy.exclude_layers'"),
        ("strict", "'privacy'"),
        *[({key: value for key, value in NOISE.items() if key != left_out}, "noise needs all") for left_out in NOISE],
    ],
)
def test_a_wrong_section_stops_the_site(tmp_path: Path, section: object, named: str) -> None:
    path = write_site(tmp_path, "site-1")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"privacy": section}))
    with pytest.raises(ConfigError) as caught:
        load_site(path)
    assert named in str(caught.value)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.text(max_size=5))
keys = st.sampled_from(sorted(Privacy.model_fields)) | st.text(max_size=5)


@given(st.dictionaries(keys, plain, max_size=6))
def test_anything_in_the_section_is_either_refused_or_within_its_bounds(section: dict[str, Any]) -> None:
    try:
        privacy = parse_settings(section, Privacy, source="site.yaml")
    except ConfigError:
        return
    assert privacy.model_dump(exclude_defaults=True)
    assert privacy.clip_norm is None or 0 < privacy.clip_norm <= 1e6
    assert privacy.noise_multiplier is None or None not in (privacy.clip_norm, privacy.delta, privacy.epsilon_budget)
    assert privacy.keep_largest_percent is None or 0 < privacy.keep_largest_percent < 100

import contextlib
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgin.config import Settings, load_settings
from fedgin.errors import ConfigError
from fedgin.train.experiment import Experiment, load_experiment

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


class Small(Settings):
    count: int
    name: str = "x"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cuont: 1", "'count': Field required; 'cuont': unknown key"),
        ("count: many", "'count': Input should be a valid integer"),
        ("count: 1\nname: {secret: 4711}", "'name': Input should be a valid string"),
        ("count: 1\ncount: [", "not readable as YAML near line 2"),
    ],
)
def test_faults_name_file_key_and_fix_but_no_value(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, Small)
    assert named in str(caught.value)
    assert "small.yaml" in str(caught.value)
    assert "4711" not in str(caught.value)


@settings(max_examples=300)
@given(
    values=st.dictionaries(st.sampled_from([*Experiment.model_fields, "x"]) | st.text(max_size=8), plain, max_size=6)
)
def test_any_mapping_is_an_experiment_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "experiment.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with contextlib.suppress(ConfigError):
        load_experiment(path)


@settings(max_examples=200)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_settings_or_one_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "small.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        load_settings(path, Small)


def test_a_name_that_is_refused_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text("name: my job\norgans: [liver, Left Kidney]\n")
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    assert "'name': expected letters, digits, '.', '_' and '-'; 'organs.2': expected small letters" in str(caught.value)
    assert "^" not in str(caught.value)


@pytest.mark.parametrize("value", ["12:30:45", "-1:30.5", "!!int 12:30", "!!float 1:30.5", "'12:30'"])
def test_a_number_of_base_60_is_a_text_as_in_yaml_1_2(tmp_path: Path, value: str) -> None:
    (tmp_path / "small.yaml").write_text(f"count: 45\nname: {value}\n")
    assert load_settings(tmp_path / "small.yaml", Small).name == value.split()[-1].strip("'")


@pytest.mark.parametrize("tag", ["", "!!int "])
def test_a_long_number_of_base_60_takes_no_time(tmp_path: Path, tag: str) -> None:
    """Multiplying out a file of the largest size took seconds; PyYAML reads the file itself in a quarter of one."""
    (tmp_path / "small.yaml").write_text(f"count: {tag}{'1:' * 130_000}1\n")
    before = time.process_time()
    with pytest.raises(ConfigError):
        load_settings(tmp_path / "small.yaml", Small)
    assert time.process_time() - before < 2.0

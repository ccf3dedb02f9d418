from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgin.augment import augmentation_names
from fedgin.config import parse_settings
from fedgin.nets.registry import build_network, network_names
from fedgin.train.experiment import Experiment, load_experiment
from tests.fuzz.mutations import CANARY, as_yaml, damaged, explains, fuzz, odd_values, raw, spliced

pytestmark = pytest.mark.timeout(300)
EXPERIMENT: dict[str, Any] = {
    "name": "x",
    "organs": ["liver", "spleen"],
    "seed": 1,
    "preprocessing": {"spacing_mm": 2.8, "size": [64, 32], "ct_window_hu": [-125, 275], "mr_percentiles": [0.5, 99.5]},
    "network": {"name": "unet", "params": {"channels": [4, 8]}},
    "augmentation": {"name": "gin", "params": {"layers": 4, "kernel_sizes": [1, 3], "alpha_range": [0.0, 1.0]}},
    "training": {"local_steps": 4, "batch_size": 2, "learning_rate": 0.003, "schedule": "polynomial"},
}
TEXT = b"""name: x
organs: [liver, spleen]
augmentation:
  name: gin
  params: {alpha_range: [0.0, 1.0]}   # of the mixture
training:
  - local_steps: 4
"""
PARAMETERS = {
    "augmentation": ["probability", "background", "layers", "kernel_sizes", "alpha_range", "padding", "slope", "patch"],
    "network": [
        "channels",
        "norm",
        "dropout",
        "width",
        "strides",
        "kernel_sizes",
        "blocks",
        "init_filters",
        "depths",
        CANARY,
    ],
}


@fuzz("experiment")
@given(content=damaged(EXPERIMENT).map(as_yaml) | spliced(TEXT) | raw)
def test_an_experiment_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "experiment.yaml"
    path.write_bytes(content)
    explains(lambda: load_experiment(path).build_augmentation())


@st.composite
def parts(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw an augmentation or a network with odd values for parameters that it has or may have."""
    kind = draw(st.sampled_from(sorted(PARAMETERS)))
    names = augmentation_names() if kind == "augmentation" else network_names()
    values = odd_values | st.lists(odd_values, max_size=3)
    params = draw(st.dictionaries(st.sampled_from(PARAMETERS[kind]), values, max_size=2))
    return kind, {"name": draw(st.sampled_from([*names, "os.system", ""])), "params": params}


@fuzz("parts")
@given(part=parts())
def test_a_part_is_built_or_refused(part: tuple[str, dict[str, Any]]) -> None:
    kind, values = part

    def build() -> None:
        experiment = parse_settings({"name": "x", "organs": ["a"], kind: values}, Experiment, source="x")
        if kind == "augmentation":
            experiment.build_augmentation()
        elif values["params"]:  # the defaults take a second to build, and other tests do
            build_network(experiment.network, spatial_dims=2, out_channels=2, seed=0)

    explains(build)

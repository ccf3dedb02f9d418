"""What a page shows of a case: one slice of the image's own grid for networks of any resolution, axes and organs."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.report.overlays import busiest_slice, predict_slice
from fedgin.train.experiment import Experiment
from tests.sites import ORGANS, tiny_experiment, tiny_volumes, write_site

GIN = {"name": "gin"}
EXPERIMENTS = {
    "slices": tiny_experiment(augmentation=GIN),
    "finer slices": tiny_experiment(preprocessing={"spacing_mm": 5.0, "size": [64, 64]}, augmentation=GIN),
    "volumes": tiny_volumes(augmentation=GIN),
}


class Nearest(nn.Module):
    """Calls a voxel what has the nearest mean intensity."""

    def __init__(self, means: Tensor) -> None:
        super().__init__()
        self.means = means

    def forward(self, image: Tensor) -> Tensor:
        return -(image - self.means.view(1, -1, *[1] * (image.ndim - 2))).square()


def prepared(folder: Path, experiment: Experiment) -> CachedCase:
    contract = load_site(folder / "site.yaml")
    return prepare_site(contract, experiment.preprocessing, experiment.organs).cases[Split.TEST][0]


def nearest(case: CachedCase) -> Nearest:
    image, label, body = (case.read(name) for name in ("image", "label", "body"))
    return Nearest(torch.stack([image[body & (label == place)].mean() for place in range(len(case.organs) + 1)]))


def dice(one: Tensor, other: Tensor) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("site"), "site-1").parent


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_network_of_any_resolution_and_axes_is_shown_on_the_images_own_slice(site: Path, name: str) -> None:
    case = prepared(site, EXPERIMENTS[name])
    shown = busiest_slice(case.case, ORGANS)
    found = torch.from_numpy(predict_slice(nearest(case), case, shown.index, ORGANS, in_one_piece=()))
    truth = torch.from_numpy(shown.truth.copy())
    assert found.shape == truth.shape == shown.image.shape == (40, 36)
    assert all(dice(found == place, truth == place) > 0.8 for place in (1, 2))


def test_a_network_of_one_organ_is_shown_in_that_organs_colour(site: Path) -> None:
    spleen = prepared(site, tiny_experiment(organs=["spleen"], preprocessing={"spacing_mm": 5.0, "size": [64, 64]}))
    shown = busiest_slice(spleen.case, ORGANS)
    found = predict_slice(nearest(spleen), spleen, shown.index, ORGANS, in_one_piece=())
    assert set(found.ravel().tolist()) == {0, 2}

"""What a page shows of a case: one slice of the image's own grid for networks of any resolution, axes and organs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.report import overlays
from fedgin.report.overlays import Panel, busiest_slice, predict_slice, show_draws
from fedgin.seeds import make_generator
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


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_draws_change_the_look_of_a_slice(site: Path, name: str) -> None:
    experiment = EXPERIMENTS[name]
    panels = show_draws(prepared(site, experiment), experiment.build_augmentation(), seed=1, draws=2)
    assert [panel.title for panel in panels] == ["draw 1", "draw 2"]
    assert panels[0].picture.tobytes() != panels[1].picture.tobytes()
    assert all(panel.numbers and max(panel.picture.size) == 640 for panel in panels)


def spread(panels: list[Panel]) -> float:
    """Return how far the darkest and the lightest grey of all pictures are apart, but for one pixel of a hundred."""
    low, high = np.percentile(np.stack([np.asarray(panel.picture) for panel in panels]), (1.0, 99.0))
    return float(high - low)


def draws_of(site: Path, name: str, **preprocessing: Any) -> list[Panel]:
    experiment = tiny_experiment(augmentation={"name": name}, preprocessing=preprocessing | {"spacing_mm": 5.0})
    return show_draws(prepared(site, experiment), experiment.build_augmentation(), seed=1, draws=4)


METHODS = ["gin", "ipa", "randconv", "rcnet", "slaug"]
# Whatever the image's values, they show a network some from -1 or 0 to 1.
OF_A_RANGE = ["raffesdg", "fmaug", "fmaug_butterworth", "prorandconv", "prorandconv_light"]


@pytest.mark.parametrize(
    ("name", "normalisation"),
    [(name, "minmax") for name in METHODS + OF_A_RANGE] + [(name, "zscore") for name in OF_A_RANGE],
)
def test_draws_of_a_narrow_range_are_shown_from_black_to_white(site: Path, name: str, normalisation: str) -> None:
    assert spread(draws_of(site, name, normalisation=normalisation)) > 200


@pytest.mark.parametrize("seed", range(8))
def test_draws_of_z_scores_are_shown_within_two_and_a_half_of_them(site: Path, seed: int) -> None:
    """Also those of GIN that are nearly flat: they are not made to look as if they were not."""
    experiment = EXPERIMENTS["slices"]
    case, method = prepared(site, experiment), experiment.build_augmentation()
    image, body, _ = overlays._seen(case)
    for number, panel in enumerate(show_draws(case, method, seed=seed, draws=2), start=1):
        gen = make_generator(seed, case.case.modality.value, number, "report")
        expected = overlays._grey(method(image, gen=gen, body=body)[0, 0], (-2.5, 2.5))
        assert panel.picture.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", METHODS + OF_A_RANGE)
def test_what_is_shown_is_what_a_network_is_trained_on(site: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    shown: list[Tensor] = []
    real = overlays._grey

    def keep(picture: Tensor, limits: tuple[float, float]) -> Image.Image:
        shown.append(picture)
        return real(picture, limits)

    monkeypatch.setattr(overlays, "_grey", keep)
    experiment = tiny_experiment(augmentation={"name": name})
    case, method = prepared(site, experiment), experiment.build_augmentation()
    show_draws(case, method, seed=1, draws=1)
    image, body, _ = overlays._seen(case)
    gen = make_generator(1, case.case.modality.value, 1, "report")
    views = [view[0, 0] for view in method.views(image, gen=gen, body=body)]
    assert any(torch.equal(shown[0], view) for view in views)

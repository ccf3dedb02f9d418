"""What a page shows of an augmentation: what a network is trained on, of one slice of a case."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fedgin.augment.draws import draw_from_text
from fedgin.augment.quality import LEAST, REDRAWS, kept_structure
from fedgin.report import draws as drawing
from fedgin.report.draws import show_draws
from fedgin.report.overlays import Panel
from fedgin.seeds import make_generator
from tests.report.test_overlays import EXPERIMENTS, prepared
from tests.sites import tiny_experiment, write_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("site"), "site-1").parent


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_draws_change_the_look_of_a_slice(site: Path, name: str) -> None:
    experiment = EXPERIMENTS[name]
    panels = show_draws(prepared(site, experiment), experiment.build_augmentation(), quality=False, seed=1, draws=2)
    assert [panel.title for panel in panels] == ["draw 1", "draw 2"]
    assert panels[0].picture.tobytes() != panels[1].picture.tobytes()
    assert all(panel.numbers and max(panel.picture.size) == 640 for panel in panels)


def spread(panels: list[Panel]) -> float:
    """Return how far the darkest and the lightest grey of all pictures are apart, but for one pixel of a hundred."""
    low, high = np.percentile(np.stack([np.asarray(panel.picture) for panel in panels]), (1.0, 99.0))
    return float(high - low)


def draws_of(site: Path, name: str, **preprocessing: Any) -> list[Panel]:
    experiment = tiny_experiment(augmentation={"name": name}, preprocessing=preprocessing | {"spacing_mm": 5.0})
    return show_draws(prepared(site, experiment), experiment.build_augmentation(), quality=False, seed=1, draws=4)


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
    image, _, body, _ = drawing._seen(case)
    for number, panel in enumerate(show_draws(case, method, quality=False, seed=seed, draws=2), start=1):
        gen = make_generator(seed, case.case.modality.value, number, "report")
        expected = drawing._grey(method(image, gen=gen, body=body)[0, 0], (-2.5, 2.5))
        assert panel.picture.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", METHODS + OF_A_RANGE)
def test_what_is_shown_is_what_a_network_is_trained_on(site: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    shown: list[Tensor] = []
    real = drawing._grey

    def keep(picture: Tensor, limits: tuple[float, float]) -> Image.Image:
        shown.append(picture)
        return real(picture, limits)

    monkeypatch.setattr(drawing, "_grey", keep)
    experiment = tiny_experiment(augmentation={"name": name})
    case, method = prepared(site, experiment), experiment.build_augmentation()
    show_draws(case, method, quality=False, seed=1, draws=1)
    image, _, body, _ = drawing._seen(case)
    gen = make_generator(1, case.case.modality.value, 1, "report")
    views = [view[0, 0] for view in method.views(image, gen=gen, body=body)]
    assert any(torch.equal(shown[0], view) for view in views)


@pytest.mark.parametrize("name", ["slices", "volumes"])
def test_what_the_filter_refuses_is_shown_as_in_training_drawn_again(site: Path, name: str) -> None:
    experiment = EXPERIMENTS[name]
    case, method = prepared(site, experiment), experiment.build_augmentation()
    image, label, body, _ = drawing._seen(case)

    def passes(panel: Panel) -> bool:
        view = method.apply(image, draw_from_text(panel.numbers, method), body=body)
        return float(kept_structure(image, view, label, body)) >= LEAST

    judged, plain = (show_draws(case, method, quality=quality, seed=1, draws=12) for quality in (True, False))
    for after, before in zip(judged, plain, strict=True):
        assert ("refused" in after.note) == (not passes(before))
        assert (after.picture.tobytes() == before.picture.tobytes()) == passes(before)
        assert after.note.startswith("the image as it is") or passes(after)
    assert any("after 1 refused draw" in panel.note for panel in judged), "else nothing was tested"


def test_where_every_draw_is_refused_the_image_is_shown_as_in_training(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = EXPERIMENTS["slices"]
    case = prepared(site, experiment)
    monkeypatch.setattr("fedgin.augment.quality.LEAST", 1.1)
    [panel] = show_draws(case, experiment.build_augmentation(), quality=True, seed=1, draws=1)
    image, _, _, _ = drawing._seen(case)
    assert panel.picture.tobytes() == drawing._grey(image[0, 0], (-2.5, 2.5)).tobytes()
    assert panel.note == f"the image as it is, after {REDRAWS + 1} refused draws"
    assert panel.numbers == "none: every draw was refused"

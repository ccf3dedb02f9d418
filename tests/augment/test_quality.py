"""Which draws are refused, and what is shown instead."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedgin.augment import Augmentation, build_augmentation
from fedgin.augment.hooks import Guide
from fedgin.augment.quality import LEAST, REDRAWS, QualityFilter, kept_structure
from fedgin.seeds import make_generator

SIZES = st.one_of(
    st.lists(st.integers(1, 24), min_size=2, max_size=2), st.lists(st.integers(1, 12), min_size=3, max_size=3)
)
SEEDS = st.integers(0, 2**32)


def everywhere(x: Tensor) -> Tensor:
    return torch.ones_like(x, dtype=torch.bool)


def reordered(x: Tensor, seed: int, *, falling: bool = False) -> Tensor:
    """Map each sample by a random strictly monotone function, from almost flat to almost a step."""
    gen = make_generator("monotone", seed)
    out = torch.empty_like(x, dtype=torch.float64)
    for sample, shown in zip(x, out, strict=True):
        _, order = sample.unique(return_inverse=True)
        heights = (8 * torch.randn(int(order.max()) + 1, generator=gen, dtype=torch.float64)).exp().cumsum(0)
        # As ranks again where float32 would round two of them to one.
        heights = (
            heights.float().double() if heights.float().diff().gt(0).all() else torch.arange(len(heights)).double()
        )
        shown.copy_(-heights[order] if falling else heights[order])
    return out.float()


def phantom(*spatial: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two samples with a bright and a dark organ in noise of grey; image, label and body."""
    x = 0.1 * torch.randn(2, 1, *spatial, generator=make_generator("phantom", *spatial))
    label = torch.zeros_like(x, dtype=torch.int64)
    bright, dark = (tuple(slice(*ends) for _ in spatial) for ends in ((4, 10), (-10, -4)))
    for sample in range(2):
        x[sample, 0][bright] += 1.0
        x[sample, 0][dark] -= 1.0
        label[sample, 0][bright], label[sample, 0][dark] = 1, 2
    return x, label, everywhere(x)


each_dimension = pytest.mark.parametrize("spatial", [(32, 32), (24, 24, 24)], ids=["2d", "3d"])


@given(size=SIZES, seed=SEEDS, classes=st.integers(1, 5), falling=st.booleans(), levels=st.sampled_from([2, 5, 1000]))
@settings(max_examples=60)
def test_a_change_that_keeps_or_inverts_the_order_of_grey_values_is_never_refused(
    size: list[int], seed: int, classes: int, falling: bool, levels: int
) -> None:
    """Of noise with few or many grey values, whatever is labelled and wherever the body is."""
    gen = make_generator(seed)
    x = torch.randint(0, levels, (2, 1, *size), generator=gen).float()
    label = torch.randint(0, classes, x.shape, generator=gen, dtype=torch.uint8)
    body = torch.rand(x.shape, generator=gen) < 0.8
    assert torch.equal(kept_structure(x, reordered(x, seed, falling=falling), label, body), torch.ones(2))


@given(size=SIZES, seed=SEEDS, place=st.floats(0.0, 1.0), grey=st.floats(-3.0, 3.0), bright=st.booleans())
@settings(max_examples=60)
def test_a_draw_that_erases_an_organ_is_always_refused(
    size: list[int], seed: int, place: float, grey: float, bright: bool
) -> None:
    """The organ and what is within three pixels of it become one grey; all else, another organ too, is as it was."""
    gen = make_generator(seed)
    x = torch.rand((2, 1, *size), generator=gen)
    organ, around = (torch.zeros_like(x, dtype=torch.bool) for _ in range(2))
    ends = [(int(place * (side - 1)), int(place * (side - 1)) + 1 + side // 4) for side in size]
    for marked, more in ((organ, 0), (around, 3)):
        for axis, (first, last) in enumerate(ends, start=2):
            places = torch.arange(x.shape[axis])
            beside = (places < first - more) | (places >= last + more)
            marked.logical_or_(beside.view(-1, *(1,) * (x.dim() - 1 - axis)))
    organ, around = ~organ, ~around
    # Without a pixel three steps beside it an organ has no contrast to lose.
    assume(any(first >= 3 or last + 3 <= side for (first, last), side in zip(ends, size, strict=True)))
    x[organ] += 2.0 if bright else -2.0
    label = torch.where(organ, 2, (torch.rand(x.shape, generator=gen) < 0.1).long())
    assert (kept_structure(x, torch.where(around, grey, x), label, everywhere(x)) < LEAST).all()


@each_dimension
@pytest.mark.parametrize("which", [1, 2])
def test_an_organ_that_looks_like_what_is_around_it_is_erased_and_the_other_one_does_not_make_up_for_it(
    spatial: tuple[int, ...], which: int
) -> None:
    x, label, body = phantom(*spatial)
    noise = 0.1 * torch.randn(x.shape, generator=make_generator("filling"))
    assert (kept_structure(x, torch.where(label == which, noise, x), label, body) < LEAST).all()


@each_dimension
def test_noise_and_a_constant_and_another_place_are_refused(spatial: tuple[int, ...]) -> None:
    x, label, body = phantom(*spatial)
    noise = torch.randn(x.shape, generator=make_generator("noise"))
    for view in (noise, torch.zeros_like(x), x.roll(8, dims=-1), 0.01 * x + noise):
        assert (kept_structure(x, view, label, body) < LEAST).all()


@each_dimension
def test_a_change_that_inverts_one_organ_and_not_the_other_is_accepted(spatial: tuple[int, ...]) -> None:
    x, label, body = phantom(*spatial)
    folded = (x + 0.35).abs()
    assert folded[label == 1].mean() > folded[label == 2].mean() > folded[label == 0].mean()
    assert (kept_structure(x, folded, label, body) >= LEAST).all()
    assert (kept_structure(x, x + 0.02 * torch.randn(x.shape, generator=make_generator(1)), label, body) > 0.8).all()


@each_dimension
def test_an_organ_that_a_site_does_not_label_counts_by_its_edges_alone(spatial: tuple[int, ...]) -> None:
    x, label, body = phantom(*spatial)
    erased = torch.where(label == 2, 0.1 * torch.randn(x.shape, generator=make_generator("filling")), x)
    partly = torch.where(label == 2, 0, label)
    assert (kept_structure(x, erased, label, body) < LEAST).all()
    assert (kept_structure(x, erased, partly, body) > kept_structure(x, erased, label, body)).all()
    assert torch.equal(kept_structure(x, x, torch.zeros_like(label), body), torch.ones(2))


def test_what_happens_outside_the_body_does_not_count() -> None:
    x, label, body = phantom(40, 40)
    body[:, :, :, 20:] = False
    label[label == 2] = 0
    lost = x.clone()
    lost[:, :, :, 20:] = torch.randn(2, 1, 40, 20, generator=make_generator("air"))
    assert torch.equal(kept_structure(x, lost, label, body), torch.ones(2))
    assert (kept_structure(x, lost, label, everywhere(x)) < 1.0).all()


def test_a_flat_image_and_one_smaller_than_the_distance_have_nothing_to_lose() -> None:
    for x in (torch.full((2, 1, 16, 16), 3.0), torch.rand(2, 1, 2, 3), torch.rand(2, 1, 1, 1, 1)):
        label = torch.ones_like(x, dtype=torch.int64)
        assert torch.equal(kept_structure(x, torch.zeros_like(x), label, everywhere(x)), torch.ones(2))


class Scripted(Augmentation[int]):
    """Erase the samples that its script names, a list for each call, by their mean grey."""

    def __init__(self, *script: Sequence[float]) -> None:
        super().__init__()
        self.script = list(script)
        self.shapes: list[int] = []

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> int:
        return int(torch.randint(1000, (), generator=gen))

    def transform(self, x: Tensor, params: int) -> Tensor:
        """Return the image times a drawn number, or nothing of it where its first pixel is in the script."""
        self.shapes.append(len(x))
        erased = self.script.pop(0)
        lost = torch.tensor([float(sample.flatten()[0]) in erased for sample in x])
        return torch.where(lost.view(-1, 1, 1, 1), 0.0, (2.0 + params) * x)

    def at_inference(self, image: Tensor) -> Tensor:
        return image / 2


def numbered() -> tuple[Tensor, Guide, Tensor]:
    """Samples whose first pixels are 10 and 11."""
    x, label, body = phantom(32, 32)
    x[:, 0, 0, 0] = torch.tensor([10.0, 11.0])
    return x, Guide(label, torch.sin), body


def test_only_what_is_refused_is_drawn_again_from_the_same_stream() -> None:
    x, guide, body = numbered()
    method = Scripted([11.0], [11.0], [])
    quality = QualityFilter(method)
    (view,) = quality.guided_views(x, guide, gen=make_generator(1), body=body)
    gen = make_generator(1)
    factors = [2.0 + Scripted().draw(x[:count].shape, gen=gen).params for count in (2, 1, 1)]
    torch.testing.assert_close(view, torch.stack([factors[0] * x[0], factors[2] * x[1]]))
    assert method.shapes == [2, 1, 1]
    assert quality.refused == pytest.approx(2 / 4)


def test_after_three_redraws_the_image_is_shown_as_at_inference() -> None:
    x, guide, body = numbered()
    method = Scripted(*[[10.0]] * 4)
    quality = QualityFilter(method)
    (view,) = quality.guided_views(x, guide, gen=make_generator(1), body=body)
    assert torch.equal(view[0], x[0] / 2)
    assert len(method.shapes) == 1 + REDRAWS
    assert quality.refused == pytest.approx(4 / 5)


def test_a_method_that_loses_nothing_is_shown_as_without_the_filter() -> None:
    x, guide, body = numbered()
    for name, params in (("none", {}), ("gin", {"alpha_range": [0.0, 0.05], "match_norm_before_mix": True})):
        method = build_augmentation(name, **params)
        quality = QualityFilter(method)
        assert quality.refused == 0.0
        (shown,) = quality.guided_views(x, guide, gen=make_generator(1), body=body)
        assert torch.equal(shown, method(x, gen=make_generator(1)))
        assert quality.refused == 0.0


def test_a_refused_sample_is_redrawn_with_all_its_views_and_the_batch_is_left_alone() -> None:
    """GIN with kernels of three pixels loses most of them; its clean partner stays clean."""
    x, label, body = phantom(32, 32)
    before, method = x.clone(), build_augmentation("gin", kernel_sizes=[3], partner="clean")
    for seed in range(5):
        clean, drawn = QualityFilter(method).guided_views(
            x, Guide(label, torch.sin), gen=make_generator(seed), body=body
        )
        assert torch.equal(clean, x)
        assert (kept_structure(x, drawn, label, body) >= LEAST).all()
        again = QualityFilter(method).guided_views(x, Guide(label, torch.sin), gen=make_generator(seed), body=body)
        assert torch.equal(again[1], drawn)
    assert torch.equal(x, before)


def test_a_method_that_asks_for_gradients_is_given_those_of_the_redrawn_samples() -> None:
    x, guide, body = numbered()
    asked: list[Tensor] = []

    def gradient(shown: Tensor) -> Tensor:
        asked.append(shown)
        return shown.sin()

    class Asks(Scripted):
        def guided_views(
            self, image: Tensor, guide: Guide, *, gen: torch.Generator, body: Tensor | None = None
        ) -> list[Tensor]:
            assert torch.equal(guide.gradient(2 * image), (2 * image).sin())
            assert guide.label.shape == image.shape
            return super().guided_views(image, guide, gen=gen, body=body)

    method = Asks([11.0], [11.0], [])
    QualityFilter(method).guided_views(x, Guide(guide.label, gradient), gen=make_generator(1), body=body)
    assert len(asked) == 3
    # The other sample takes its place in the batch, over which the loss is taken.
    assert all(torch.equal(shown, torch.stack([x[0], 2 * x[1]])) for shown in asked[1:])

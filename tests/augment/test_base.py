from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.backends import cudnn

from fedgin.augment.base import Augmentation, Draw, _flat_samples
from fedgin.augment.methods.identity import Identity
from fedgin.errors import ConfigError, DataError
from fedgin.seeds import make_generator


class Shift(Augmentation[Tensor]):
    """Add a drawn number to each sample; a sample drawn as infinite becomes non-finite."""

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> Tensor:
        return torch.rand(shape[0], generator=gen) + 1

    def transform(self, x: Tensor, params: Tensor) -> Tensor:
        return x + params.view(-1, *(1,) * (x.dim() - 1))


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("image", *shape))


@pytest.mark.parametrize("shape", [(3, 1, 8, 9), (2, 2, 4, 5, 6)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_result_has_the_inputs_shape_and_dtype_and_no_gradient(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = image(*shape).to(dtype).requires_grad_()
    before = x.detach().clone()
    out = Shift()(x, gen=make_generator(1))
    assert (out.shape, out.dtype, out.requires_grad) == (x.shape, dtype, False)
    assert torch.equal(x, before)


def test_a_replayed_draw_gives_the_same_images() -> None:
    x, shift = image(4, 1, 8, 8), Shift(probability=0.5)
    draw = shift.draw(x.shape, gen=make_generator(1))
    assert torch.equal(shift.apply(x, draw), shift.apply(x, draw))
    assert torch.equal(shift.apply(x, draw), shift(x, gen=make_generator(1)))


def test_drawing_consumes_the_same_random_numbers_whatever_the_settings() -> None:
    """Arms of a study with other probabilities or backgrounds stay in step."""
    states = []
    for shift in (Shift(), Shift(probability=0.1), Shift(background="keep")):
        gen = make_generator(1)
        shift.draw((4, 1, 8, 8), gen=gen)
        states.append(gen.get_state())
    assert all(torch.equal(states[0], state) for state in states)


@given(probability=st.floats(0, 1))
@settings(max_examples=20)
def test_each_sample_is_changed_or_left_alone_as_drawn(probability: float) -> None:
    x, shift = image(8, 1, 4, 4), Shift(probability=probability)
    draw = shift.draw(x.shape, gen=make_generator(2))
    changed = (shift.apply(x, draw) != x).flatten(1).any(1)
    assert torch.equal(changed, draw.applied)


def test_probability_is_a_share_of_samples() -> None:
    draw = Shift(probability=0.3).draw((10_000, 1, 1, 1), gen=make_generator(3))
    assert draw.applied.float().mean().item() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("value", [0.0, 0.7, -1000.0, 1e6])
def test_flat_samples_come_back_unchanged_and_others_do_not(value: float) -> None:
    x = torch.full((3, 1, 8, 8), value)
    x[1] += image(1, 8, 8)
    out = Shift()(x, gen=make_generator(1))
    assert torch.equal(out[::2], x[::2])
    assert not torch.equal(out[1], x[1])


def test_the_smallest_texture_that_counts() -> None:
    """One pixel of 64 * 64 at height h has a standard deviation of about h / 64."""
    x = torch.zeros(2, 1, 64, 64)
    x[0, 0, 5, 5], x[1, 0, 5, 5] = 64 * 0.9e-6, 64 * 1.1e-6
    out = Shift()(x, gen=make_generator(1))
    assert torch.equal(out[0], x[0])
    assert not torch.equal(out[1], x[1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_non_finite_image_is_a_loud_error(bad: float) -> None:
    x = image(3, 1, 8, 8)
    x[1, 0, 2, 3] = bad
    with pytest.raises(DataError, match=r"samples \[1\]"):
        Shift()(x, gen=make_generator(1))


def test_a_non_finite_result_falls_back_to_the_image_and_is_counted() -> None:
    x, shift = image(3, 1, 8, 8), Shift()
    params = torch.tensor([1.0, float("inf"), 2.0])
    for _ in range(2):
        out = shift.apply(x, Draw(params, applied=torch.tensor([True] * 3), background=torch.zeros(3)))
    assert torch.equal(out[1], x[1])
    assert torch.equal(out[::2], x[::2] + params[::2].view(-1, 1, 1, 1))
    assert shift.fallbacks == 2


def test_a_result_too_large_for_the_inputs_dtype_falls_back() -> None:
    x, shift = image(1, 1, 8, 8).half(), Shift()
    out = shift.apply(x, Draw(torch.tensor([1e6]), applied=torch.tensor([True]), background=torch.zeros(1)))
    assert torch.equal(out, x)
    assert shift.fallbacks == 1


def test_background_free_changes_everything_and_ignores_the_body() -> None:
    x = image(2, 1, 8, 8)
    body = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    assert torch.equal(Shift()(x, gen=make_generator(1), body=body), Shift()(x, gen=make_generator(1)))


@pytest.mark.parametrize("shape", [(3, 2, 8, 8), (3, 1, 4, 8, 8)])
def test_background_keep_and_constant_touch_only_their_side(shape: tuple[int, ...]) -> None:
    x = image(*shape)
    body = image(shape[0], 1, *shape[2:]) > 0
    inside, outside = body.expand_as(x), ~body.expand_as(x)
    free = Shift()(x, gen=make_generator(1))
    keep = Shift(background="keep")(x, gen=make_generator(1), body=body)
    constant = Shift(background="constant")(x, gen=make_generator(1), body=body)
    assert torch.equal(keep[inside], free[inside])
    assert torch.equal(constant[inside], free[inside])
    assert torch.equal(keep[outside], x[outside])
    shares: list[float] = []
    for sample, row, air in zip(x, constant, outside, strict=True):
        assert len(set(row[air].tolist())) == 1
        share = (row[air][0] - sample.min()) / (sample.max() - sample.min())
        shares.append(share.item())
    drawn = Shift().draw(shape, gen=make_generator(1)).background.tolist()
    assert shares == pytest.approx(drawn, abs=1e-5)
    assert len(set(drawn)) == shape[0]


def test_mixed_precision_does_not_reach_the_arithmetic() -> None:
    class Double(Shift):
        """Multiply in a way that autocast would do in bfloat16."""

        def transform(self, x: Tensor, params: Tensor) -> Tensor:
            return x @ (2 * torch.eye(x.shape[-1]))

    x = image(2, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Double()(x, gen=make_generator(1)), 2 * x)


def test_a_background_policy_without_a_fitting_body_is_an_error() -> None:
    x, keep = image(2, 1, 8, 8), Shift(background="keep")
    with pytest.raises(ConfigError, match="needs a body mask"):
        keep(x, gen=make_generator(1))
    for body in (torch.ones(2, 1, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool)):
        with pytest.raises(DataError, match="body mask"):
            keep(x, gen=make_generator(1), body=body)


def test_batches_that_do_not_fit_are_errors() -> None:
    with pytest.raises(DataError, match=r"int64"):
        Shift()(torch.ones(1, 1, 8, 8, dtype=torch.int64), gen=make_generator(1))
    with pytest.raises(DataError, match=r"shape \(8, 8\)"):
        Shift()(image(8, 8), gen=make_generator(1))
    draw = Shift().draw((3, 1, 8, 8), gen=make_generator(1))
    with pytest.raises(DataError, match="3 samples were drawn, 2 given"):
        Shift().apply(image(2, 1, 8, 8), draw)


def test_identity_changes_nothing_and_still_refuses_broken_images() -> None:
    x = image(2, 1, 8, 8)
    assert torch.equal(Identity()(x, gen=make_generator(1)), x)
    with pytest.raises(DataError):
        Identity()(x * float("nan"), gen=make_generator(1))


def test_a_device_that_is_no_cpu_is_asked_nothing() -> None:
    """A question waits for all that the device has still to do; the meta device fails at the first one."""
    x = torch.zeros(3, 1, 4, 4, device="meta")
    chosen = torch.ones(3, dtype=torch.bool, device="meta") & ~_flat_samples(x)
    assert Shift()._keep_sane(x, x + 1, chosen).shape == x.shape


class Precision(Shift):
    """Notes with which settings of cuDNN it computes."""

    seen: tuple[bool, bool, bool] = (True, True, True)

    def transform(self, x: Tensor, params: Tensor) -> Tensor:
        self.seen = (cudnn.enabled, cudnn.benchmark, cudnn.allow_tf32)
        return super().transform(x, params)


def test_a_gpu_computes_a_draw_in_whole_float32_and_nothing_else_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn, "benchmark", True)
    method = Precision()
    method(image(2, 1, 4, 4), gen=make_generator("precision"))
    assert method.seen == (True, True, False)
    assert (cudnn.enabled, cudnn.benchmark, cudnn.allow_tf32) == (True, True, True)

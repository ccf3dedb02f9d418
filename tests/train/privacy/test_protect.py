import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from torch import Tensor

from fedgin.data.privacy import Privacy
from fedgin.errors import PrivacyError
from fedgin.train.privacy.protect import clip, keep_largest, norm, protect, secure_normals, sent_names

NOISE = {"clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-5, "epsilon_budget": 1e3}
values = arrays.arrays(np.float32, st.integers(1, 300), elements=st.floats(-1e6, 1e6, width=32))


def update(scale: float = 1.0) -> dict[str, Tensor]:
    gen = torch.Generator().manual_seed(0)
    shapes = {"model.1.weight": (30, 20), "model.1.bias": (30,), "model.10.weight": (50,), "head": ()}
    return {name: scale * torch.randn(shape, generator=gen) for name, shape in shapes.items()}


def flat(weights: dict[str, Tensor]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = torch.cat([value.flatten() for value in weights.values()]).numpy()
    return found


def seeded(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(1).standard_normal(count)


@given(values=values, limit=st.floats(1e-6, 1e6))
def test_a_clipped_update_never_exceeds_the_norm_and_keeps_its_direction(
    values: NDArray[np.float32], limit: float
) -> None:
    clipped = clip(values, limit)
    assert norm(clipped) <= limit
    if norm(values) > limit:
        assert norm(clipped) == pytest.approx(limit, rel=1e-5)
        expected = values.astype(np.float64) * (limit / norm(values))
        np.testing.assert_allclose(clipped, expected, rtol=2e-6, atol=1e-30)


@given(values=values)
def test_an_update_below_the_norm_is_unchanged_bit_for_bit(values: NDArray[np.float32]) -> None:
    assert clip(values, norm(values) * 1.001 + 1e-6).tobytes() == values.tobytes()


@given(values=values, percent=st.floats(0.01, 99.99))
def test_exactly_the_largest_share_is_kept(values: NDArray[np.float32], percent: float) -> None:
    count = math.ceil(values.size * percent / 100.0)
    kept = keep_largest(values, percent)
    chosen = np.sort(np.abs(kept))[::-1]
    np.testing.assert_array_equal(chosen[:count], np.sort(np.abs(values))[::-1][:count])
    assert not chosen[count:].any()
    assert np.all((kept == values) | (kept == 0.0))


def test_of_equal_values_no_more_than_the_share_is_kept() -> None:
    assert keep_largest(np.ones(200, np.float32), 1.0).sum() == 2.0


def test_the_noise_has_the_stated_deviation_on_every_value() -> None:
    nothing = {"a": torch.zeros(300, 1000), "b": torch.zeros(100)}
    noisy = protect(nothing, nothing, Privacy(**NOISE | {"clip_norm": 3.0}))
    found = flat(noisy.difference)
    # Five standard errors of mean and of standard deviation.
    assert abs(found.mean()) < 5 * 1.5 / math.sqrt(found.size)
    assert abs(found.std() - 1.5) < 5 * 1.5 / math.sqrt(2 * found.size)
    assert np.count_nonzero(found) == found.size


def test_noise_is_added_after_clipping() -> None:
    sent = protect(update(100.0), update(), Privacy(**NOISE), normals=seeded)
    clipped = clip(flat(update(100.0)), 1.0)
    np.testing.assert_allclose(flat(sent.difference), clipped + 0.5 * seeded(clipped.size), rtol=1e-5, atol=1e-7)


def test_secure_normals_are_normal_finite_and_new_each_time() -> None:
    first, second = secure_normals(200_000), secure_normals(200_000)
    assert np.isfinite(first).all()
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(first.size)
    for limit, share in ((1.0, 0.682689), (2.0, 0.954500), (3.0, 0.997300)):
        error = 5 * math.sqrt(share * (1 - share) / first.size)
        assert abs(np.mean(np.abs(first) < limit) - share) < error


@pytest.mark.parametrize("bits", [0, 2**64 - 1])
def test_the_rarest_bits_still_give_a_finite_number(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.urandom", lambda count: bits.to_bytes(8, "little") * (count // 8))
    assert 8.0 < abs(secure_normals(1)[0]) < 9.0


def test_a_layer_is_named_by_whole_parts() -> None:
    sent = protect(update(), update(), Privacy(exclude_layers=("model.1",)))
    assert list(sent.difference) == ["model.10.weight", "head"]
    assert all(torch.equal(value, update()[name]) for name, value in sent.difference.items())
    assert sent.summary == "2 of 4 entries withheld"


@pytest.mark.parametrize(
    ("layers", "named"),
    [(("modle.1",), "no layer 'modle.1'"), (("model.1", "mod"), "no layer 'mod'"), (("model", "head"), "nothing to")],
)
def test_a_layer_that_is_not_there_and_an_empty_rest_are_refused(layers: tuple[str, ...], named: str) -> None:
    with pytest.raises(PrivacyError, match=named):
        sent_names(update(), Privacy(exclude_layers=layers), network=update())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("section", [{"clip_norm": 1.0}, {"keep_largest_percent": 1.0}, {"exclude_layers": ("head",)}])
def test_an_update_that_is_not_finite_is_refused(bad: float, section: dict[str, object]) -> None:
    broken = update()
    broken["model.1.bias"][3] = bad
    with pytest.raises(PrivacyError, match="NaN or infinity"):
        protect(broken, update(), Privacy.model_validate(section))


def test_only_the_excluded_layers_may_hold_anything() -> None:
    """What is withheld is not looked at either: it takes no part in the norm."""
    sent = protect(update() | {"head": torch.tensor(1e9)}, update(), Privacy(clip_norm=1e3, exclude_layers=("head",)))
    np.testing.assert_array_equal(flat(sent.difference), flat(update())[:-1])


def test_variances_stay_at_zero_or_above_under_noise() -> None:
    received = {"bn.running_var": torch.full((1000,), 0.1), "bn.running_mean": torch.full((1000,), 0.1)}
    nothing = {name: torch.zeros(1000) for name in received}
    sent = protect(nothing, received, Privacy(**NOISE)).difference
    assert bool((received["bn.running_var"] + sent["bn.running_var"] >= 0).all())
    assert bool((received["bn.running_mean"] + sent["bn.running_mean"] < 0).any())


@settings(max_examples=30)
@given(
    limit=st.none() | st.floats(1e-3, 1e3),
    percent=st.none() | st.floats(0.1, 99.0),
    layers=st.sets(st.sampled_from(["model.1", "model.1.bias", "head"])),
    scale=st.floats(0.0, 1e4),
)
def test_any_combination_keeps_names_shapes_and_the_norm(
    limit: float | None, percent: float | None, layers: set[str], scale: float
) -> None:
    if limit is None and percent is None and not layers:
        return
    privacy = Privacy(clip_norm=limit, keep_largest_percent=percent, exclude_layers=tuple(layers))
    sent = protect(update(scale), update(), privacy).difference
    assert list(sent) == sent_names(update(), privacy, network=update())
    assert all(sent[name].shape == update()[name].shape and sent[name].dtype == torch.float32 for name in sent)
    assert limit is None or norm(flat(sent)) <= limit
    if percent is not None:
        total = flat(sent).size
        assert np.count_nonzero(flat(sent)) <= math.ceil(total * percent / 100)

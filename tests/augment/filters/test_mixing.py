import torch

from fedgin.augment.filters.mixing import match_norm_, mix_at_norm_


def test_a_hand_computed_mixture() -> None:
    """x = (3, 4), out = (1, 0), alpha = 1/2: the mixture (2, 2) at norm 5 has two equal parts of 5 / sqrt(2)."""
    x, out = torch.tensor([[[[3.0, 4.0]]]]), torch.tensor([[[[1.0, 0.0]]]])
    mixed = mix_at_norm_(x, out, torch.tensor([0.5]))
    torch.testing.assert_close(mixed, torch.full((1, 1, 1, 2), 5 / 2**0.5), rtol=1e-4, atol=0)
    assert mixed.data_ptr() == out.data_ptr()
    assert x.flatten().tolist() == [3.0, 4.0]


def test_alpha_belongs_to_a_sample() -> None:
    x = torch.tensor([[3.0, 4.0], [3.0, 4.0]]).view(2, 1, 1, 2)
    out = torch.tensor([[4.0, 3.0], [4.0, 3.0]]).view(2, 1, 1, 2)
    mixed = mix_at_norm_(x, out, torch.tensor([0.0, 1.0])).view(2, 2)
    torch.testing.assert_close(mixed, torch.tensor([[3.0, 4.0], [4.0, 3.0]]), rtol=1e-4, atol=0)


def test_a_vanishing_mixture_stays_zero() -> None:
    x = torch.ones(1, 1, 2, 2)
    assert not mix_at_norm_(x, -x, torch.tensor([0.5])).any()


def test_a_norm_is_matched_over_channels_and_pixels() -> None:
    x = torch.full((1, 2, 1, 2), 2.0)
    torch.testing.assert_close(match_norm_(torch.ones(1, 2, 1, 2), x), x, rtol=1e-4, atol=0)

import torch
from hypothesis import given
from hypothesis import strategies as st

from fedgin.seeds import derive_seed, make_generator

parts = st.one_of(st.integers(), st.text(st.characters(codec="ascii", exclude_characters="\x1f")))


@given(first=st.lists(parts, min_size=1, max_size=4), second=st.lists(parts, min_size=1, max_size=4))
def test_different_purposes_have_different_seeds(first: list[int | str], second: list[int | str]) -> None:
    same = [(type(part), part) for part in first] == [(type(part), part) for part in second]
    assert (derive_seed(*first) == derive_seed(*second)) == same


@given(st.lists(parts, max_size=4))
def test_seeds_fit_every_generator(purpose: list[int | str]) -> None:
    assert 0 <= derive_seed(*purpose) < 2**63


def test_a_seed_does_not_change_between_versions() -> None:
    """A changed derivation would silently change every published run."""
    assert derive_seed(42, "site-1", 0, "slices") == 6068329597933667398


def test_equal_purposes_give_equal_streams() -> None:
    assert torch.equal(torch.rand(4, generator=make_generator(1, "a")), torch.rand(4, generator=make_generator(1, "a")))

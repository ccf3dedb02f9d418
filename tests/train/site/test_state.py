from pathlib import Path

import pytest

from fedgin.train.site.state import SiteState


@pytest.mark.parametrize("first", [0, 8, 9_997, 99_996])
def test_a_round_goes_on_with_the_optimiser_of_the_one_before(tmp_path: Path, first: int) -> None:
    state = SiteState(tmp_path, keep_optimizer=True)
    for number in range(first, first + 5):
        before = {"after": number - 1} if number > first else None
        assert state.optimizer_before(number) == before
        state.save_optimizer(number, {"after": number})
        assert state.optimizer_before(number) == before  # also where the task is repeated
    kept = {f"optimizer_round_{number:04d}.pt" for number in (first + 3, first + 4)}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_run_that_keeps_no_optimiser_starts_afresh(tmp_path: Path) -> None:
    SiteState(tmp_path, keep_optimizer=True).save_optimizer(3, {"after": 3})
    state = SiteState(tmp_path, keep_optimizer=False)
    state.save_optimizer(4, {"after": 4})
    assert state.optimizer_before(5) is None
    assert [path.name for path in tmp_path.iterdir()] == ["optimizer_round_0003.pt"]

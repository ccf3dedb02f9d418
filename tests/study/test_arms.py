"""What an arm keeps of itself when it is cut off."""

from pathlib import Path

import pytest

from fedgin.data.prepare import SiteData, prepare_site
from fedgin.data.site import Modality, load_site
from fedgin.study.arms import ArmOutcome, Curve, PooledArm
from tests.sites import tiny_experiment, write_site

ROUNDS = 3


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SiteData]:
    settings, folder = tiny_experiment(), tmp_path_factory.mktemp("sites")
    return {
        name: prepare_site(
            load_site(write_site(folder / name, name, modality)), settings.preprocessing, settings.organs
        )
        for name, modality in (("ct-a", "CT"), ("mr-a", "MR"))
    }


def train(sites: dict[str, SiteData], folder: Path, cut_at: int = 0) -> tuple[ArmOutcome, Curve]:
    """Train an arm, or be cut off after a validation; return also what was told."""
    told: Curve = []

    def on_round(point: dict[str, float]) -> None:
        told.append(point)
        if point["round"] == cut_at:
            raise KeyboardInterrupt

    folder.mkdir(exist_ok=True)
    arm = PooledArm("mr", "MR", tiny_experiment(), (Modality.MR,), ROUNDS)
    return arm.train(sites, folder, on_round), told


@pytest.mark.parametrize("cut_at", [2, ROUNDS])
def test_an_arm_that_was_cut_off_has_the_curve_of_the_whole_one(
    sites: dict[str, SiteData], tmp_path: Path, cut_at: int
) -> None:
    whole, _ = train(sites, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(sites, tmp_path / "cut", cut_at)
    rest, told = train(sites, tmp_path / "cut")
    assert [point["round"] for point in whole.curve] == [1.0, 2.0, 3.0]
    assert all(point.keys() == {"round", "CT", "MR"} for point in whole.curve)
    assert rest.curve == whole.curve
    assert told == whole.curve[cut_at - 1 :], "rounds that are complete are not trained again"

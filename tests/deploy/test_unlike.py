"""What is unlike the training, or unlike an adult, is said; what is like it is not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fedgin.data.look import look_at, summarise_looks
from fedgin.data.regions import Cut
from fedgin.data.site import Modality
from fedgin.data.volumes import Volume
from fedgin.deploy.unlike import describe_cuts, find_pieces, find_unlike
from fedgin.train.provenance import Participant, Provenance
from tests.sites import make_volume, tiny_experiment

SHAPE = (60, 50, 20)


def image(modality: str = "CT", seed: int = 0, spacing: tuple[float, float, float] = (2.0, 2.0, 5.0)) -> Volume:
    """Return a block phantom, stored with another order of axes for each seed."""
    voxels = make_volume(modality, seed)[0].astype(np.float32)
    return Volume(voxels, np.diag([*spacing, 1.0]))


def trained(**changes: object) -> Provenance:
    looks = {modality: [look_at(image(modality, seed)) for seed in range(4)] for modality in Modality}
    known: dict[str, object] = {
        "kind": "one site",
        "run": "r",
        "experiment": tiny_experiment(),
        "rounds": 1,
        "model": "model.pt",
        "chosen": "The last.",
        "participants": [Participant(site="a", modality=item, rounds=1) for item in Modality],
        "appearances": summarise_looks(looks),
    }
    return Provenance.model_validate(known | changes)


def nothing_found(volume: Volume) -> NDArray[np.uint8]:
    return np.zeros(volume.voxels.shape, dtype=np.uint8)


def warnings_of(volume: Volume, modality: Modality = Modality.CT, **changes: object) -> list[str]:
    return find_unlike(volume, modality, nothing_found(volume), {}, trained(**changes))


@pytest.mark.parametrize("modality", Modality)
def test_an_image_like_the_others_brings_no_warning(modality: Modality) -> None:
    assert warnings_of(image(modality, seed=9), modality) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            image(spacing=(2.0, 2.0, 12.0)),
            "its voxels measure 12 mm from inferior to superior; half of the CT training",
        ),
        (image(spacing=(0.9, 2.0, 5.0)), "it covers 36 mm from left to right; half of the CT training images have 80"),
        (Volume(image().voxels + 1024, image().affine), "its grey value at percentile 50 is"),
    ],
    ids=["spacing", "field of view", "stored values instead of HU"],
)
def test_another_geometry_or_another_scale_is_said(other: Volume, said: str) -> None:
    assert [line for line in warnings_of(other) if line.startswith(said)]


def test_the_order_of_the_axes_and_the_gain_of_an_mr_make_no_difference() -> None:
    plain = image("MR", seed=9)
    turned = Volume(np.swapaxes(plain.voxels, 0, 2) * 37.0, plain.affine[:, [2, 1, 0, 3]])
    assert warnings_of(turned, Modality.MR) == []


def test_what_is_unknown_and_what_was_never_trained_on_is_said() -> None:
    assert warnings_of(image(), appearances=[]) == [
        "spacing, field of view and grey values of the CT training images are unknown: not compared"
    ]
    only_mr = [Participant(site="a", modality=Modality.MR, rounds=1)]
    assert warnings_of(image(), participants=only_mr) == ["the image is CT, but the model was trained on MR alone"]


def test_two_patients_are_no_group() -> None:
    assert summarise_looks({Modality.CT: [look_at(image(seed=seed)) for seed in range(2)]}) == []


def box(shape: tuple[int, int, int], size: int, at: int = 3) -> NDArray[np.uint8]:
    labels = np.zeros(shape, dtype=np.uint8)
    labels[at : at + size, at : at + size, at : at + size] = 1
    return labels


def organ_warnings(organ: str, labels: NDArray[np.uint8], ml: float, **changes: object) -> list[str]:
    volume = Volume(np.zeros(labels.shape, dtype=np.float32), np.eye(4))
    return find_unlike(volume, Modality.CT, labels, {organ: ml}, trained(appearances=[], **changes))[1:]


def test_an_organ_of_implausible_volume_is_held_against_adults_and_the_run() -> None:
    labels = box(SHAPE, 10)
    assert organ_warnings("liver", labels, 1500.0) == []
    assert organ_warnings("liver", labels, 90.0) == ["liver has 90 ml; normal adults have 800 to 2500 ml"]
    known = {"liver": (1200.0, 1400.0)}
    assert organ_warnings("liver", labels, 2900.0, volumes_ml=known) == [
        "liver has 2900 ml; normal adults have 800 to 2500 ml; the run's reference labels have 1200 to 1400 ml"
    ]
    assert organ_warnings("islet_graft", labels, 2900.0) == [], "nothing is known of it"
    assert organ_warnings("right_kidney", box(SHAPE, 10, at=0), 30.0) == [
        "right kidney has 30 ml; normal adults have 70 to 300 ml; it reaches the edge of the image"
    ]


def test_an_organ_that_is_missing_or_in_pieces_is_said_and_kidneys_are_two() -> None:
    assert organ_warnings("left_kidney", np.zeros(SHAPE, dtype=np.uint8), 0.0) == ["left kidney was not found"]
    pieces = box(SHAPE, 8)
    pieces[30:38, 30:38, 3:7] = 1
    assert organ_warnings("spleen", pieces, 200.0) == ["spleen is in 2 pieces; the largest is 67% of it"]
    assert organ_warnings("kidneys", pieces, 300.0) == []


def test_a_crumb_makes_no_pieces_and_cuts_nothing_off() -> None:
    labels = box(SHAPE, 12)
    labels[-1, 5, 5] = 1
    assert organ_warnings("liver", labels, 90.0) == ["liver has 90 ml; normal adults have 800 to 2500 ml"]
    pieces = find_pieces(labels == 1)
    assert (pieces.count, pieces.box) == (2, (slice(3, 15),) * 3)
    assert pieces.share == pytest.approx(1728 / 1729)


def test_what_was_cut_off_is_said_where_it_was_notable() -> None:
    cuts = {2: Cut(3, 0.62), 1: Cut(2, 0.99)}
    said = ["left kidney was in 3 pieces; only the largest is kept, 62% of it"]
    assert describe_cuts(cuts, ["liver", "left_kidney"]) == said

"""What a plan is, for federations that were drawn and for some whose plan is known."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgin.errors import ConfigError
from fedgin.planning.fingerprints import read_fingerprints
from fedgin.planning.geometry import plan_geometry
from fedgin.planning.memory import BASE, count_weights, training_bytes
from fedgin.planning.plan import Plan, Wishes, make_plan
from tests.planning.live_memory import step_bytes
from tests.planning.shared import federations, fingerprint, sites

WISHES = st.builds(Wishes, memory_gb=st.floats(2.0, 24.0), dimensions=st.sampled_from([None, 2]))


def plan(*found: dict[str, Any], **wishes: Any) -> Plan:
    return make_plan("planned", sites(*found), Wishes(**wishes))


def reason(planned: Plan, key: str) -> str:
    return next(item.reason for item in planned.decisions if item.key == key)


@given(federations(), st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_any_order_of_the_sites_gives_the_same_plan(found: list[dict[str, Any]], order: random.Random) -> None:
    expected = make_plan("planned", read_fingerprints([("", each) for each in found]), Wishes())
    order.shuffle(found)
    assert make_plan("planned", read_fingerprints([("", each) for each in found]), Wishes()) == expected
    assert make_plan("planned", sites(*found), Wishes()).text() == expected.text()


@given(federations(), WISHES)
@settings(max_examples=3)
def test_the_network_of_any_plan_is_built_and_a_step_of_it_fits_the_memory(
    found: list[dict[str, Any]], wishes: Wishes
) -> None:
    """The bytes of a step are counted tensor by tensor; its logits have the size of the image."""
    experiment = make_plan("planned", sites(*found), wishes).experiment
    assert step_bytes(experiment) + BASE <= wishes.memory_gb * 1e9


@given(federations(), st.floats(1.5, 40.0))
@settings(max_examples=40)
def test_the_estimate_of_any_plan_keeps_to_the_memory(found: list[dict[str, Any]], memory: float) -> None:
    planned = plan_geometry(sites(*found), classes=3, memory_gb=memory, dimensions=None)
    size = (*planned.size[2:], *planned.size[:2])
    needed = training_bytes(size, planned.topology, classes=3, batch=planned.batch_size)
    assert needed <= memory * 1e9
    assert planned.batch_size >= 2


@pytest.mark.parametrize("size", [{}, {"body": (200.0, 200.0, 5.0)}], ids=["volumes", "slices"])
def test_weights_are_counted_as_the_network_has_them(size: dict[str, Any]) -> None:
    found = sites(fingerprint("a", **size), fingerprint("b", "MR", **size))
    planned = plan_geometry(found, classes=3, memory_gb=8.0, dimensions=None)
    experiment = make_plan("planned", found, Wishes()).experiment
    weights = sum(weight.numel() for weight in experiment.initial_network().parameters())
    assert count_weights(planned.topology, 3) == weights


def test_the_coarse_axis_of_anisotropic_voxels_has_percentile_10() -> None:
    planned = plan(*(fingerprint(site, cases=30, spacing=(1.0, 1.0, 4.0)) for site in "ab"))
    assert planned.experiment.preprocessing.spacing_mm == (1.0, 1.0, 3.2)
    assert "anisotropic by 4.0, so inferior-superior has percentile 10 (3.2), not 4" in reason(planned, "spacing_mm")


def test_the_spacing_of_others_is_the_median_by_cases() -> None:
    planned = plan(
        fingerprint("a", cases=30, spacing=(1.0, 1.0, 2.0), width=0.0),
        fingerprint("b", cases=20, spacing=(2.0, 2.0, 3.0), width=0.0),
    )
    assert planned.experiment.preprocessing.spacing_mm == (1.0, 1.0, 2.0)


def test_a_site_of_few_slices_makes_it_slices_which_hold_every_body() -> None:
    planned = plan(fingerprint("a", body=(300.0, 200.0, 430.0)), fingerprint("b", body=(400.0, 250.0, 40.0)))
    assert planned.experiment.spatial_dims == 2
    assert "which has 16 at least: b (8)" in reason(planned, "dimensions")
    spacing = planned.experiment.preprocessing.spacing_mm
    assert isinstance(spacing, float)
    x, y = planned.experiment.preprocessing.size
    assert (x * spacing >= 440, y * spacing >= 275) == (True, True)
    with pytest.raises(ConfigError, match=r"too few slices for volumes: b \(8\)"):
        plan(fingerprint("a"), fingerprint("b", body=(400.0, 250.0, 40.0)), dimensions=3)


def test_slices_are_counted_at_the_spacing_that_is_planned_in_the_end() -> None:
    """A body of 1.9 m at 1 mm has more voxels than are ever prepared: they become larger, slabs of 17 mm too thin."""
    whole = fingerprint("a", cases=60, spacing=(1.0, 1.0, 1.0), body=(560.0, 420.0, 1900.0), width=0.0)
    slabs = fingerprint("b", "MR", spacing=(1.0, 1.0, 1.0), body=(350.0, 250.0, 17.0), width=0.0)
    planned = plan(whole, slabs)
    assert planned.experiment.spatial_dims == 2
    assert reason(planned, "dimensions").endswith("which has 16 at least: b (17, 14 of 1.19 mm)")
    with pytest.raises(ConfigError, match=r"too few slices for volumes: b \(17, 14 of 1\.19 mm\)"):
        plan(whole, slabs, dimensions=3)
    thicker = fingerprint("b", "MR", spacing=(1.0, 1.0, 1.0), body=(350.0, 250.0, 40.0), width=0.0)
    spacing = plan(whole, thicker).experiment.preprocessing.spacing_mm
    assert spacing == (1.19, 1.19, 1.19)


def test_a_batch_is_no_larger_than_a_job_may_say() -> None:
    small: dict[str, Any] = {"spacing": (2.0, 2.0, 2.0), "body": (30.0, 30.0, 400.0), "width": 0.0, "cases": 20_000}
    planned = plan(fingerprint("a", **small), fingerprint("b", "MR", **small), dimensions=2, memory_gb=80.0)
    assert planned.experiment.training.batch_size == 4096
    assert "bound by what a job may say" in reason(planned, "batch_size")


def test_less_memory_gives_smaller_patches_and_none_at_all_is_an_error() -> None:
    found = [fingerprint("a", spacing=(1.0, 1.0, 1.0)), fingerprint("b", "MR", spacing=(1.0, 1.0, 1.0))]
    sizes = [plan(*found, memory_gb=memory).experiment.preprocessing.size for memory in (2.0, 4.0, 16.0)]
    assert sizes[0] < sizes[1] < sizes[2]
    with pytest.raises(ConfigError, match=r"a step of two samples of 16 x 16 x 16 takes 0\.\d+ GB"):
        plan(*found, memory_gb=0.5)


def test_pixels_of_slices_grow_until_two_fit() -> None:
    found = [fingerprint("a", spacing=(0.4, 0.4, 5.0)), fingerprint("b", spacing=(0.4, 0.4, 5.0))]
    fine, coarse = (plan(*found, memory_gb=memory, dimensions=2) for memory in (16.0, 2.0))
    assert fine.experiment.preprocessing.spacing_mm == 0.4
    assert float(coarse.experiment.preprocessing.spacing_mm) > 0.4  # type: ignore[arg-type]
    assert "made coarser until two slices fit into 2 GB" in reason(coarse, "spacing_mm")


def test_an_organ_needs_enough_sites_and_who_labels_the_others_is_said() -> None:
    found = [
        fingerprint("a", organs={"liver": 0.7, "pancreas": 0.6, "aorta": 0.6}),
        fingerprint("b", organs={"liver": 0.7, "pancreas": 0.6}),
        fingerprint("c", "MR", organs={"liver": 0.7}),
    ]
    planned = plan(*found)
    assert planned.experiment.organs == ["liver", "pancreas"]
    assert "left out, labelled by a: aorta" in reason(planned, "organs")
    assert "no MR site labels pancreas: the model learns it from the other modality alone" in planned.warnings
    assert plan(*found, organ_sites=3).experiment.organs == ["liver"]
    with pytest.raises(ConfigError, match="no organ is labelled by 4 sites") as caught:
        plan(*found, organ_sites=4)
    assert caught.value.fix == "lower the minimum: --organ-sites 3"


def test_the_window_holds_the_organs_of_all_sites_and_their_fat() -> None:
    planned = plan(fingerprint("a", hu=(-200.0, 300.0)), fingerprint("b", hu=(-200.0, 300.0)))
    assert planned.experiment.preprocessing.ct_window_hu == (-200.0, 300.0)
    planned = plan(fingerprint("a", hu=(20.0, 300.0)), fingerprint("b", "MR"))
    assert planned.experiment.preprocessing.ct_window_hu == (-125.0, 300.0)
    assert "begins at -125" in reason(planned, "ct_window_hu")


def test_thin_kernels_go_to_gin_too() -> None:
    planned = plan(fingerprint("a", spacing=(1.0, 1.0, 2.5)), fingerprint("b", spacing=(1.0, 1.0, 2.5)))
    pool = planned.experiment.augmentation.params["kernel_sizes"]
    assert pool == [[1, 1, 1], [1, 3, 3], [3, 3, 3]]
    assert planned.experiment.augmentation.quality
    assert planned.experiment.network.params["kernel_sizes"][0] == [1, 3, 3]


def test_volumes_alone_keep_the_largest_region_of_the_organs_for_which_that_was_measured() -> None:
    organs = {"liver": 0.7, "pancreas": 0.6, "spleen": 0.6}
    volumes = plan(fingerprint("a", organs=organs), fingerprint("b", organs=organs))
    assert volumes.experiment.spatial_dims == 3
    assert volumes.experiment.postprocessing.largest_region == ["liver", "spleen"]
    assert "becomes background" in reason(volumes, "largest_region")
    slices = plan(fingerprint("a", organs=organs), fingerprint("b", organs=organs), dimensions=2)
    assert slices.experiment.postprocessing.largest_region == []
    assert slices.experiment.augmentation.quality
    assert "largest_region" not in [decision.key for decision in slices.decisions]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"spacing": (1.5, 1.5, 2.0), "cases": 3},
            "b: its voxels measure 2 mm from inferior to superior",
        ),
        ({"cases": 2}, "b has fewer than three training cases: none of its numbers is in the plan"),
        ({"organs": {"liver": 0.2, "spleen": 0.7}}, "CT: of the body's range of grey values, liver lies at 20% at b"),
        ({"hu": None}, "b has CT without Hounsfield units: it is cut at percentiles, like MR"),
        ({"modality": "MR"}, "b alone has MR, and with it half of the weight"),
        ({"organs": {"liver": 0.7}}, "b does not label spleen: its loss leaves them out"),
        ({}, "no site has MR: whether the model holds on it, no site can measure. If it is meant to, set quality"),
    ],
)
def test_what_a_lead_should_look_at_is_said(changed: dict[str, Any], said: str) -> None:
    others = [fingerprint(site, cases=40, width=0.05) for site in "ac"]
    assert [line for line in plan(*others, fingerprint("b", width=0.05, **changed)).warnings if line.startswith(said)]


def test_an_organ_that_is_longer_than_a_patch_is_named() -> None:
    found = [fingerprint("a", spacing=(1.0, 1.0, 1.0)), fingerprint("b", spacing=(1.0, 1.0, 1.0))]
    [line, *_] = [line for line in plan(*found, memory_gb=4.0).warnings if line.startswith("the network sees")]
    assert "less than liver (210 mm)" in line


def test_the_reasons_stand_above_the_experiment_and_nothing_else_is_set() -> None:
    planned = plan(fingerprint("a"), fingerprint("b", "MR"))
    text = planned.text()
    comments = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    for item in planned.decisions:
        assert f"{item.key}: {item.value}" in comments
    assert max(map(len, text.splitlines())) <= 120
    assert "learning_rate" not in text

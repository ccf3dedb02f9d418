"""Which names are known, which are slips, which are really new."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from fedgin.data.importers import label_ids
from fedgin.data.organ_names import Likeness, resembled
from fedgin.data.organs import ORGANS
from fedgin.train.experiment import load_experiment
from tests.places import JOBS

IN_JOBS = sorted(
    {
        organ
        for path in JOBS.glob("*/app/config/experiment.yaml")
        for organ in load_experiment(path).organs
        if len(organ) > 5
    }
)


def test_every_organ_of_our_jobs_and_importers_is_known() -> None:
    numberings = [value for name, value in vars(label_ids).items() if name.endswith("_IDS")]
    organs = set(IN_JOBS).union(*numberings)
    assert len(organs) > 15
    assert organs <= ORGANS.keys()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("livr", "liver"), ("lvier", "liver"), ("spleeen", "spleen"), ("right_kidny", "right_kidney")),
        *(("gallblader", "gallbladder"), ("pancrease", "pancreas"), ("aorat", "aorta"), ("oesofagus", "oesophagus")),
        *(
            ("inferior_vena_cave", "inferior_vena_cava"),
            ("kidny_left", "left_kidney"),
            ("left_ventrical", "left_ventricle"),
        ),
    ],
)
def test_a_slip_is_recognised(name: str, meant: str) -> None:
    assert resembled(name) == (meant, Likeness.SLIP)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("kidney_left", "left_kidney"), ("esophagus", "oesophagus"), ("adrenal_gland_right", "right_adrenal")),
        *(("ivc", "inferior_vena_cava"), ("postcava", "inferior_vena_cava"), ("urinary_bladder", "bladder")),
        *(("leftkidney", "left_kidney"), ("gall_bladder", "gallbladder"), ("portal_vein_and_splenic_vein", "")),
        ("l_kidney", "left_kidney"),
    ],
)
def test_another_name_of_a_known_organ_is_recognised(name: str, meant: str) -> None:
    assert resembled(name) == ((meant, Likeness.SAME) if meant else None)


@pytest.mark.parametrize(
    "name",
    [
        *("left_kidney_stone", "islet_graft", "external_iliac_artery", "vertebra_x1", "rib_13", "liver_segment_4"),
        *("left_atrioventricular_node", "milz", "dose", "stent"),
    ],
)
def test_a_new_organ_is_like_none(name: str) -> None:
    assert resembled(name) is None


@given(organ=st.sampled_from(IN_JOBS), place=st.integers(0, 99), letter=st.sampled_from(string.ascii_lowercase))
def test_one_wrong_letter_is_always_noticed(organ: str, place: int, letter: str) -> None:
    words = organ.split("_")
    longest = max(range(len(words)), key=lambda index: len(words[index]))
    place %= len(words[longest])
    words[longest] = words[longest][:place] + letter + words[longest][place + 1 :]
    wrong = "_".join(words)
    assert wrong in ORGANS or resembled(wrong) is not None


def test_a_job_may_be_asked_instead_of_the_table() -> None:
    assert resembled("islet_grafts", ["islet_graft", "liver"]) == ("islet_graft", Likeness.SLIP)
    assert resembled("spleen", ["islet_graft", "liver"]) is None


def test_codes_are_those_of_the_standard() -> None:
    known = {(getattr(codes.SCT, name).value, getattr(codes.SCT, name).meaning) for name in codes.SCT.dir()}
    assert {name for name, organ in ORGANS.items() if organ.code and organ.code not in known} == set()
    assert sum(organ.code is not None for organ in ORGANS.values()) > 60


def test_every_organ_that_is_named_by_a_side_has_it_and_no_chamber_has_one() -> None:
    """A chamber of the heart is no half of a pair: its side is in its code."""
    chambers = {f"{side}_{part}" for side in ("left", "right") for part in ("ventricle", "atrium")}
    others = {"left_atrial_appendage", "right_middle_lobe", "right_lung_middle_lobe"}
    sided = {name: name.partition("_")[0] for name in ORGANS if name.startswith(("left_", "right_"))}
    assert {name for name, organ in ORGANS.items() if organ.side} == sided.keys() - chambers - others
    assert all(organ.side in ("", sided.get(name)) for name, organ in ORGANS.items())


def test_ranges_of_volumes_ascend_and_a_pair_has_twice_as_much() -> None:
    ranges = {name: organ.adult_ml for name, organ in ORGANS.items() if organ.adult_ml}
    assert all(0.0 < low < high for low, high in ranges.values())
    for both, one in (("kidneys", "left_kidney"), ("adrenals", "right_adrenal")):
        assert ranges[both] == tuple(2 * ml for ml in ranges[one])

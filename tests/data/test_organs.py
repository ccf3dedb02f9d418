"""Which names are known, which are slips, which are really new."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgin.data.importers import label_ids
from fedgin.data.organs import ORGANS, Likeness, resembled
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

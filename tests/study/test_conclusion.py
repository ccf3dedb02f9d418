"""What a comparison found is said whatever it is."""

import pytest

from fedgin.study.conclusion import ScoredArm, conclude
from fedgin.train.evaluate.scores import CaseScore


def arm(title: str, trained_on: tuple[str, ...], mr: list[float], ct: list[float]) -> ScoredArm:
    scores = [
        CaseScore("a", modality, "test", number, number, "liver", dice, 1.0, 1.0)
        for modality, values in (("MR", mr), ("CT", ct))
        for number, dice in enumerate(values, start=1)
    ]
    return ScoredArm(title, trained_on, scores)


MR_ONLY = arm("MR only", ("MR",), [0.7, 0.8, 0.9], [0.0, 0.1, 0.2])
FEDAVG = arm("FedAvg", ("CT", "MR"), [0.5, 0.6, 0.7], [0.6, 0.7, 0.5])


@pytest.mark.parametrize(
    ("mr", "verdict"),
    [
        ([0.6, 0.7, 0.8], "less than MR only (0.800, difference -0.100 [-0.10, -0.10])"),
        ([0.8, 0.9, 1.0], "more than MR only (0.800, difference +0.100 [+0.10, +0.10])"),
        ([0.8, 0.8, 0.8], "not clearly different from MR only (0.800, difference +0.000 ["),
    ],
)
def test_the_last_arm_is_better_worse_or_neither_by_the_interval(mr: list[float], verdict: str) -> None:
    said = conclude([MR_ONLY, FEDAVG, arm("FedGIN", ("CT", "MR"), mr, [0.6, 0.7, 0.5])])
    assert said.startswith(f"On MR FedGIN reaches a mean Dice of {sum(mr) / 3:.3f}: ")
    assert verdict in said


def test_who_never_saw_a_modality_is_named_apart() -> None:
    said = conclude([MR_ONLY, FEDAVG, arm("FedGIN", ("CT", "MR"), [0.5, 0.6, 0.7], [0.6, 0.7, 0.8])])
    assert said.endswith("Without ever seeing CT: MR only 0.100.")
    assert "MR only" not in said.split("On CT")[1].split("Without")[0]


def test_one_patient_decides_nothing() -> None:
    said = conclude([arm("MR only", ("MR",), [0.1], []), arm("FedGIN", ("CT", "MR"), [0.9], [])])
    assert (
        said == "On MR FedGIN reaches a mean Dice of 0.900: on one patient beside MR only (0.100, difference +0.800)."
    )

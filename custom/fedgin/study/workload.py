"""How much an arm computes."""

from fedgin.data.datalist import Split
from fedgin.study.arms import FederatedArm, PooledArm
from fedgin.study.planned_arm import PlannedArm
from fedgin.train.round_length import steps_of_round


def cores_of(setting: PlannedArm) -> int:
    """Return how many processes of an arm compute at the same time."""
    return len(setting.arm.members(setting.sites)) if isinstance(setting.arm, FederatedArm) else 1


def steps_of_arm(setting: PlannedArm) -> int:
    """Return the optimiser steps of an arm, of all its sites together."""
    arm = setting.arm
    groups = [site.cases[Split.TRAINING] for site in arm.members(setting.sites).values()]
    if isinstance(arm, PooledArm):
        groups = [[case for cases in groups for case in cases]]
    return arm.rounds * sum(steps_of_round(arm.experiment, cases) for cases in groups)

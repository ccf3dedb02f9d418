"""Where the model of an arm comes from: its sites, and its Dice by organ and modality with intervals over patients."""

from collections.abc import Mapping, Sequence

from fedgin.data.appearance import Appearance, Look
from fedgin.data.datalist import Split
from fedgin.data.look import summarise_looks
from fedgin.data.prepare import SiteData
from fedgin.data.site import Modality
from fedgin.data.small_groups import MIN_GROUP
from fedgin.study.arms import Arm, FederatedArm
from fedgin.train.evaluate.estimates import mean_of
from fedgin.train.evaluate.patient_values import subject_values
from fedgin.train.evaluate.scores import CaseScore
from fedgin.train.experiment import Experiment
from fedgin.train.provenance import Kind, Measured, Participant, Provenance

LAST = "The last round's model: nothing was chosen."


def describe_arm(arm: Arm, sites: Mapping[str, SiteData], scores: Sequence[CaseScore]) -> Provenance:
    """Say which sites' cases an arm was trained on and what its test cases measured.

    Args:
        arm: that was run.
        sites: all of the comparison; an arm of one modality is trained on some of them.
        scores: the scores of the arm's last model on the test cases.
    """
    trained = arm.members(sites)
    return Provenance(
        kind=_kind(arm, len(trained)),
        run=arm.name,
        experiment=arm.experiment,
        rounds=arm.rounds,
        model="model.pt",
        chosen=LAST,
        participants=[_participant(site, arm.rounds) for _, site in sorted(trained.items())],
        measured=measure_organs(scores, "test"),
        volumes_ml=reference_volumes(scores),
        appearances=describe_images(list(trained.values())),
    )


def describe_training(
    experiment: Experiment, rounds: int, sites: Sequence[SiteData], scores: Sequence[CaseScore]
) -> Provenance:
    """Say the same of training at one place, whose validation cases were scored with the last round's model."""
    return Provenance(
        kind="one site" if len(sites) == 1 else "centralised",
        run=experiment.name,
        experiment=experiment,
        rounds=rounds,
        model="model.pt",
        chosen=LAST,
        participants=[_participant(site, rounds) for site in sites],
        measured=measure_organs(scores, "validation"),
        volumes_ml=reference_volumes(scores),
        appearances=describe_images(sites),
    )


def measure_organs(scores: Sequence[CaseScore], split: str) -> list[Measured]:
    """Return the mean Dice of each modality's organs, the mean of organs first, with intervals over patients."""
    found = []
    for modality in sorted({score.modality for score in scores}):
        organs = dict.fromkeys(score.organ for score in scores if score.modality == modality)
        for organ in ["", *organs]:
            values = subject_values(scores, modality=modality, organ=organ or None)
            if values:
                estimate = mean_of(values)
                found.append(
                    Measured.model_validate(
                        {
                            "modality": Modality(modality),
                            "organ": organ,
                            "split": split,
                            "dice": estimate.value,
                            "interval": (estimate.low, estimate.high) if estimate.cases > 1 else None,
                            "patients": estimate.cases,
                        }
                    )
                )
    return found


def reference_volumes(scores: Sequence[CaseScore]) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest volume of each organ in the reference labels, in millilitres.

    An organ that fewer than ``MIN_GROUP`` patients show is left out: its limits would be a patient's.
    """
    found: dict[str, dict[tuple[str, int], float]] = {}
    for score in scores:
        if score.reference_ml > 0.0:
            found.setdefault(score.organ, {})[score.site, score.subject] = score.reference_ml
    return {
        organ: (min(values.values()), max(values.values()))
        for organ, values in found.items()
        if len(values) >= MIN_GROUP
    }


def describe_images(sites: Sequence[SiteData]) -> list[Appearance]:
    """Say how the training images of each modality looked, the first one of each patient."""
    looks: dict[Modality, dict[tuple[str, int], Look]] = {}
    for site in sites:
        for case in site.cases[Split.TRAINING]:
            known = looks.setdefault(site.contract.modality, {})
            known.setdefault((site.contract.site, case.case.subject), case.look)
    return summarise_looks({modality: list(known.values()) for modality, known in looks.items()})


def _participant(site: SiteData, rounds: int) -> Participant:
    cases = len(site.cases[Split.TRAINING])
    return Participant(site=site.contract.site, modality=site.contract.modality, training_cases=cases, rounds=rounds)


def _kind(arm: Arm, sites: int) -> Kind:
    if isinstance(arm, FederatedArm):
        return "federated in the simulator"
    return "one site" if sites == 1 else "centralised"

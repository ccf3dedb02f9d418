"""Where the model of a finished job comes from, as far as its result tells."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from fedgin.data.site import Modality
from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_modalities
from fedgin.flare.jobs.files import CONFIG
from fedgin.flare.jobs.job import Job
from fedgin.flare.protocol import SERVER_MODEL
from fedgin.flare.run.results import RunResult, read_cross_site
from fedgin.train.provenance import Kind, Measured, Participant, Provenance


def describe_job(job: Job, run: str, result: RunResult, *, fault: str = "", kind: Kind = "federated") -> Provenance:
    """Say which sites made the chosen model of a job and what they measured of it.

    Sites send the mean Dice of their cases, not one a patient, so that there are no intervals here.

    Args:
        job: as it ran.
        run: FLARE's job id, or the name of the run's folder.
        result: the result of a job with one round or more.
        fault: what keeps it from being a success.
        kind: whether it ran in FLARE's simulator.

    Raises:
        WeightsError: the job was resumed, and its checkpoint, which names the sites before that, cannot be read.
    """
    participants = _participants(job, result)
    model = result.chosen_model
    return Provenance(
        kind=kind,
        run=run,
        experiment=job.experiment,
        rounds=job.first_round + job.rounds,
        model=model.relative_to(result.folder).as_posix(),
        chosen=_how_chosen(result),
        participants=participants,
        measured=_measured(result, model.name, participants, job.experiment.organs),
        fault=fault,
    )


def _how_chosen(result: RunResult) -> str:
    model, dice = result.chosen_model, result.candidates
    which = "The last round's model" if model == result.last_model else "The best round's model"
    if len(dice) < 2:
        return f"{which}: no other one was measured."
    compared = ", ".join(f"{value:.3f} ({name})" for name, value in sorted(dice.items()))
    return f"{which}, by the mean validation Dice over modalities: {compared}."


def _participants(job: Job, result: RunResult) -> list[Participant]:
    """Return who trained the model, also before the job was resumed.

    In how many rounds a site took part before is not told, nor on how many cases it trained when it has left since.
    """
    earlier = read_modalities(job.folder / CONFIG / CHECKPOINT) if job.experiment.resumes else {}
    found = {
        site: Participant(site=site, modality=modality, training_cases=None, rounds=None)
        for site, modality in earlier.items()
    }
    for done in result.participation:
        for site, update in done.contributed.items() if done.aggregated else ():
            before = found[site].rounds if site in found else 0
            found[site] = Participant(
                site=site,
                modality=Modality(update.modality),
                training_cases=update.of_cases,
                rounds=None if before is None else before + 1,
            )
    return [found[site] for site in sorted(found)]


def _measured(
    result: RunResult, model: str, participants: Sequence[Participant], organs: Sequence[str]
) -> list[Measured]:
    """Return what each site measured of the model, the mean of organs first."""
    if not result.cross_site.is_file():
        return []
    modality = {item.site: item.modality for item in participants}
    found = []
    for site, models in sorted(read_cross_site(result.cross_site).items()):
        if site in modality:
            found += _of_site(site, modality[site], models.get(f"{SERVER_MODEL}{model}", {}), organs)
    return found


def _of_site(site: str, modality: Modality, metrics: Mapping[str, float], organs: Sequence[str]) -> list[Measured]:
    """Keep what a site may measure: a site chooses the names of its metrics, and a card shows them as organs."""
    splits: tuple[tuple[Literal["test", "validation"], str], ...] = (("test", "test"), ("validation", "val"))
    for split, prefix in splits:
        dice = {organ: metrics.get(f"{prefix}_dice_{organ}", math.nan) for organ in ("mean", *sorted(organs))}
        known = {organ: value for organ, value in dice.items() if 0.0 <= value <= 1.0}
        if known:
            return [
                Measured(site=site, modality=modality, organ="" if organ == "mean" else organ, split=split, dice=value)
                for organ, value in known.items()
            ]
    return []

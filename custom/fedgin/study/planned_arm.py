"""From a line of a study to what can be run: sites with their cases, and an arm."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedgin.config import parse_settings
from fedgin.data.datalist import Split, list_cases
from fedgin.data.prepare import SiteData, prepare_site
from fedgin.data.site import Modality, SiteContract
from fedgin.data.sites import check_labelled, find_sites
from fedgin.errors import ConfigError
from fedgin.flare.jobs.job import Job, load_job, stage_job
from fedgin.study.arms import Arm, FederatedArm, PooledArm
from fedgin.study.plan import ArmSpec, Regime, Study
from fedgin.study.scarcity import in_ratio, trains, with_training_patients
from fedgin.train.augmentation_settings import AugmentationSettings
from fedgin.train.experiment import Experiment, with_changes

OnPrepared = Callable[[str, int, int], None]
OnLeftOut = Callable[[str, Sequence[str]], None]


@dataclass(frozen=True)
class PlannedArm:
    """An arm with the sites that it trains or is tested on; ``home`` is its folder."""

    spec: ArmSpec
    arm: Arm
    sites: Mapping[str, SiteData]
    home: Path

    def staged(self) -> "PlannedArm":
        """Write the job of a federated arm, beside ``arms``, so that it can be trained; return the arm with it.

        Raises:
            FolderError: something else is where the job should be.
        """
        if not isinstance(self.arm, FederatedArm):
            return self
        job, target = self.arm.job, self.home.parents[1] / "jobs" / self.spec.name
        written = stage_job(job, target, sites=job.min_clients, rounds=job.rounds, changes={})
        return replace(self, arm=replace(self.arm, job=written))


def find_cross_modality_sites(folder: Path) -> list[SiteContract]:
    """Load every ``FOLDER/*/site.yaml``, in the order of the folders' names.

    Raises:
        ConfigError: fewer than two sites, two sites of one name, or a modality is absent.
    """
    contracts = find_sites(folder)
    if len(contracts) < 2:
        raise ConfigError(f"{folder} holds one site only", "give each site a folder with a site.yaml")
    absent = [modality for modality in Modality if modality not in {contract.modality for contract in contracts}]
    if absent:
        raise ConfigError(f"no site under {folder} is {absent[0]}", "cross-modality training needs CT and MR sites")
    return contracts


class StudySites:
    """The sites of a study, prepared once for each population, preprocessing and choice of organs.

    Whatever their ``site.yaml`` says, each computes with one thread: sums in another order would make a result depend
    on the machine and on how busy it was.

    Args:
        study: the study.
        out: its folder; shorter datalists are written there.
        on_prepared: told of preprocessing; what is cached on disk is not computed again.
        on_left_out: told of a site that labels none of the organs of some arms, so that it takes no part in them.
        on_untaught: told of an arm and its organs that only the site labels which is left out: it has none of them.
        named_only: whether no case is prepared; see :func:`prepare_site`.

    Raises:
        ConfigError: a site or its contract is wrong.
    """

    def __init__(
        self,
        study: Study,
        out: Path,
        *,
        on_prepared: OnPrepared = lambda site, done, total: None,
        on_left_out: OnLeftOut = lambda site, organs: None,
        on_untaught: OnLeftOut = lambda arm, organs: None,
        named_only: bool = False,
    ) -> None:
        self.study = study
        self.out = out
        self.on_prepared = on_prepared
        self.on_left_out = on_left_out
        self.on_untaught = on_untaught
        self.named_only = named_only
        self.contracts = [_with_one_thread(contract) for contract in find_cross_modality_sites(study.sites)]
        self._prepared: dict[str, dict[str, SiteData]] = {}

    def arms(self) -> list[ArmSpec]:
        """Return every arm of the study at these sites; see :meth:`Study.arms_at`."""
        return self.study.arms_at(self._modalities)

    def _modalities(self, spec: ArmSpec) -> dict[str, Modality]:
        members = _labelling(self.contracts, self._taught(spec).organs)
        return {contract.site: contract.modality for contract in members if trains(contract)}

    def cases(self, spec: ArmSpec) -> dict[str, dict[Split, int]]:
        """Return how many cases of each split an arm's sites have, by site; none is opened."""
        contracts = self._contracts(spec, self._taught(spec).organs)
        return {
            contract.site: {split: len(members) for split, members in list_cases(contract).items()}
            for contract in contracts
        }

    def setting(self, spec: ArmSpec) -> PlannedArm:
        """Return an arm with its sites.

        Raises:
            FedginError: a site, a case or a setting is wrong.
        """
        experiment = self._taught(spec, told=True)
        sites = self._sites(spec, experiment)
        _refuse_local_layers(spec, experiment, sites)
        trained = [
            site.contract.modality
            for name, site in sites.items()
            if site.cases[Split.TRAINING] and name != spec.without and site.contract.modality in spec.regime.modalities
        ]
        job = _job(self.study, spec, experiment, trained)
        arm = _make_arm(self.study, spec, job, tuple(sorted(set(trained))))
        return PlannedArm(spec, arm, sites, self.out / "arms" / spec.name)

    def _taught(self, spec: ArmSpec, *, told: bool = False) -> Experiment:
        """Return an arm's settings; nobody teaches an organ that only the site labels which is left out.

        Args:
            spec: the arm.
            told: whether ``on_untaught`` is told of such organs.
        """
        experiment = _experiment(self.study, spec)
        check_labelled(self.contracts, experiment.organs)
        if not spec.without:
            return experiment
        others = [contract for contract in self.contracts if contract.site != spec.without and trains(contract)]
        taught = [organ for organ in experiment.organs if any(organ in contract.labels for contract in others)]
        untaught = set(experiment.organs) - set(taught)
        if told and untaught:
            self.on_untaught(spec.name, sorted(untaught))
        return experiment.with_organs(taught)

    def _sites(self, spec: ArmSpec, experiment: Experiment) -> Mapping[str, SiteData]:
        kept = spec.without if spec.ct_per_mr else ""
        key = f"{spec.population} {kept} {experiment.preprocessing.model_dump_json()} {experiment.organs}"
        if key not in self._prepared:
            self._prepared[key] = {
                contract.site: prepare_site(
                    contract,
                    experiment.preprocessing,
                    experiment.organs,
                    splits=tuple(Split) if trains(contract) else (Split.TEST,),
                    progress=_of_site(self.on_prepared, contract.site),
                    named_only=self.named_only,
                )
                for contract in self._contracts(spec, experiment.organs)
            }
        return self._prepared[key]

    def _contracts(self, spec: ArmSpec, organs: Sequence[str]) -> list[SiteContract]:
        members = _labelling(self.contracts, organs)
        for contract in self.contracts:
            if contract not in members:
                self.on_left_out(contract.site, organs)
        folder = self.out / "datalists" / spec.name
        if not spec.ct_per_mr:
            return with_training_patients(members, dict(spec.training_patients), folder)
        # A number of patients is dealt to all sites, and who is left out takes its own. A ratio is of those who train.
        training = [contract for contract in members if contract.site != spec.without]
        wanted = in_ratio(training, spec.ct_per_mr, without=spec.without)
        shortened = with_training_patients(training, wanted, folder, key="ct_per_mr")
        by_name = {contract.site: contract for contract in shortened}
        return [by_name.get(contract.site, contract) for contract in members]


def _with_one_thread(contract: SiteContract) -> SiteContract:
    return contract.model_copy(update={"limits": contract.limits.model_copy(update={"cpu_threads": 1})})


def _labelling(contracts: Sequence[SiteContract], organs: Sequence[str]) -> list[SiteContract]:
    """Return the sites that label one of the organs at least; the others can neither train on them nor be tested."""
    members = [contract for contract in contracts if contract.labels.keys() & set(organs)]
    for modality in Modality:
        if modality not in {contract.modality for contract in members if trains(contract)}:
            known = {organ for contract in contracts if contract.modality is modality for organ in contract.labels}
            raise ConfigError(
                f"no {modality} site labels {' or '.join(organs)}",
                f"choose among the organs that {modality} sites label: {', '.join(sorted(known))}",
            )
    return members


def _refuse_local_layers(spec: ArmSpec, experiment: Experiment, sites: Mapping[str, SiteData]) -> None:
    """Refuse FedBN where a site has test cases alone: it could be tested with no layers of its own."""
    fedbn = spec.regime is Regime.FEDERATED and experiment.network.normalisation == "fedbn"
    untrained = [name for name, site in sites.items() if not site.cases[Split.TRAINING]]
    if fedbn and untrained:
        raise ConfigError(
            f"{spec.name}: with FedBN {untrained[0]}, which has test cases alone, has no local layers",
            "give it training cases, or choose another normalisation",
        )


def _experiment(study: Study, spec: ArmSpec) -> Experiment:
    job, (*shared, own) = load_job(study.job), study.changes(spec)
    organs = _organs(shared, job.experiment.organs)
    start = with_changes(job.experiment.model_dump(mode="json"), {"augmentation": {"name": "none"}})
    if isinstance(organs, list):
        kept = [organ for organ in job.experiment.postprocessing.largest_region if organ in organs]
        start |= {"postprocessing": {"largest_region": kept}}
        # The organ that is the arm's own comes last: until then the study's settings name others, too.
        organs = organs if not spec.organ or spec.organ in organs else [*organs, spec.organ]
    values = _changed(start, [*shared, own]) | {"organs": organs}
    experiment = parse_settings(values, Experiment, source=f"changes to {job.name}")
    if spec.organ:
        experiment = experiment.with_organs([spec.organ])
    if spec.method not in study.methods:
        _refuse_silent_defaults(study, spec, job, experiment)
    if experiment.starts_from:
        raise ConfigError(
            f"job {job.name} starts from a file of weights, but the arms of a study start from their seeds",
            "remove network.pretrained; 'fedgin train' and 'fedgin simulate' take the file",
        )
    return experiment


def _organs(changes: Sequence[Mapping[str, Any]], of_job: list[str]) -> Any:
    """Return the organs that a study means, as it writes them; what the job says of others is not said of these."""
    named = [each["organs"] for each in changes if "organs" in each]
    return named[-1] if named else of_job


def _changed(values: dict[str, Any], every: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    for changes in every:
        values = with_changes(values, changes)
    return values


def _refuse_silent_defaults(study: Study, spec: ArmSpec, job: Job, experiment: Experiment) -> None:
    """Refuse a method that is not listed if the job, with the study's settings, gives its name to another thing."""
    common = _changed(job.experiment.model_dump(mode="json"), [study.settings])
    meant = AugmentationSettings.model_validate(common["augmentation"])
    if meant.name == spec.method and meant != experiment.augmentation:
        shown = json.dumps(meant.model_dump(mode="json", exclude_defaults=True))
        raise ConfigError(
            f"method '{spec.method}' is not listed, so it would have its defaults, and not what job {job.name} has",
            f"write under 'methods' what you mean, such as '{spec.method}: {{augmentation: {shown}}}'",
        )


def _job(study: Study, spec: ArmSpec, experiment: Experiment, trained: Sequence[Modality]) -> Job:
    """Return an arm's job; ``trained`` has the modality of each site that trains."""
    changes = experiment.model_dump(mode="json")
    if spec.without and spec.regime is Regime.FEDERATED and experiment.network.normalisation == "fedbn":
        raise ConfigError(
            f"{spec.name}: with FedBN a site that does not train has no local layers to be tested with",
            f"take '{spec.method}' out of the block with 'leave_one_site_out', or choose another normalisation",
        )
    if spec.regime is Regime.CENTRAL and not experiment.training.local_epochs:
        # As many optimiser steps as all sites of the federation make together; passes over the pool are as many anyway.
        changes["training"]["local_steps"] = experiment.training.steps * len(trained)
    if len(set(trained)) == 1 and experiment.network.normalisation == "dsbn":
        # With one modality DSBN is BatchNorm; as such it can also be tested on the modality it has not seen.
        changes["network"]["normalisation"] = "batch"
    changed = parse_settings(changes, Experiment, source=f"changes to {study.job.name}")
    return replace(load_job(study.job), experiment=changed, rounds=study.rounds, min_clients=len(trained))


def _make_arm(study: Study, spec: ArmSpec, job: Job, modalities: tuple[Modality, ...]) -> Arm:
    title = f"{spec.regime.replace('_', ' ')} {spec.method}"
    if spec.regime is Regime.FEDERATED:
        return FederatedArm(spec.name, title, job, spec.without)
    return PooledArm(spec.name, title, job.experiment, modalities, job.rounds, study.validate_every, spec.without)


def _of_site(on_prepared: OnPrepared, site: str) -> Callable[[int, int], None]:
    return lambda done, total: on_prepared(site, done, total)

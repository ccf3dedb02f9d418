"""``study.yaml``: which arms a study compares. An arm is a regime, a method and a seed on a set of sites."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator, model_validator

from fedgin.augment import augmentation_names
from fedgin.config import Settings, load_settings, spelt
from fedgin.data.site import Modality, OrganName
from fedgin.errors import ConfigError
from fedgin.study.population import Population
from fedgin.train.experiment import names_augmentation

# Fewer say nothing about a centre that was not measured; and without one of two there is no federation.
LEAST_SITES = 3
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Name = Annotated[
    str, StringConstraints(pattern=spelt(r"^[a-z0-9][a-z0-9_]*$", "small letters, digits and '_'"), max_length=48)
]


class Regime(StrEnum):
    """Where the training data is: with the sites of one modality, in one place, or with all sites of a federation."""

    CT_ONLY = "ct_only"
    MR_ONLY = "mr_only"
    CENTRAL = "central"
    FEDERATED = "federated"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Whose sites train."""
        alone = {Regime.CT_ONLY: (Modality.CT,), Regime.MR_ONLY: (Modality.MR,)}
        return alone.get(self, tuple(Modality))


class Block(Settings):
    """A block of arms: every combination of its regimes, methods and seeds.

    Attributes:
        regimes: where the training data is.
        methods: names under ``methods``, or of registered augmentations.
        seeds: the seeds of the runs.
        training_patients: so many patients of a modality train, shared among its sites as evenly as they have them; all
            by default. ``{CT: 10, MR: 2}`` is a scarcity of 1:5.
        ct_per_mr: in place of it, so many CT patients for each MR patient, and as many of both as that leaves.
        organs: train a network for each of these organs alone; by default one for all organs of the job.
        leave_one_site_out: whether each arm is also run without each of its sites in turn. The network is tested at
            all sites: the one left out is a centre that it has never seen.
    """

    regimes: list[Regime] = Field(min_length=1, max_length=len(Regime))
    methods: list[Name] = Field(min_length=1, max_length=100)
    seeds: list[Seed] = Field(min_length=1, max_length=100)
    training_patients: dict[Modality, Annotated[int, Field(ge=1, le=100_000)]] = Field(default_factory=dict)
    ct_per_mr: int | None = Field(default=None, ge=1, le=1000)
    organs: list[OrganName] = Field(default_factory=list, max_length=100)
    leave_one_site_out: bool = False

    @model_validator(mode="after")
    def _patients_are_said_once(self) -> "Block":
        if self.ct_per_mr and self.training_patients:
            raise ValueError("a block has training_patients or ct_per_mr, not both")
        return self


class Study(Settings):
    """The whole ``study.yaml``.

    Attributes:
        name: the name of the study.
        title: headline of the report.
        note: a sentence about the data.
        sites: folder with one folder a site, relative to ``study.yaml``.
        job: job folder that every arm starts from, relative to ``study.yaml``.
        rounds: the rounds of every arm.
        validate_every: rounds between validations where nothing depends on them, that is without a federation.
        settings: changes to the job's ``experiment.yaml`` for every arm, as nested keys.
        methods: name to further changes to ``experiment.yaml``; a method that is not listed is the registered
            augmentation of that name with its defaults. The job's augmentation is in no arm: a method names its
            own, or has that of ``settings``. One that names its own takes neither parameters nor probability
            from ``settings``.
        blocks: the arms.
        baseline: regime and method to which gains are relative, such as ``mr_only none``.
    """

    name: Name
    title: str
    note: str
    sites: Path
    job: Path
    rounds: int = Field(ge=1, le=10_000)
    validate_every: int = Field(default=1, ge=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    methods: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    blocks: list[Block] = Field(min_length=1, max_length=10)
    baseline: str = "mr_only none"

    @field_validator("settings")
    @classmethod
    def _seed_comes_from_the_blocks(cls, settings: dict[str, Any]) -> dict[str, Any]:
        if "seed" in settings:
            raise ValueError("'seed' belongs to the blocks' 'seeds'")
        return settings

    @model_validator(mode="after")
    def _methods_are_known(self) -> "Study":
        known = {*self.methods, *augmentation_names()}
        for block in self.blocks:
            for method in block.methods:
                if method not in known:
                    raise ValueError(f"unknown method '{method}'; known are {', '.join(sorted(known))}")
        if self.baseline not in {f"{spec.regime} {spec.method}" for spec in self.arms()}:
            raise ValueError(f"the baseline '{self.baseline}' is no arm of the study")
        return self

    @model_validator(mode="after")
    def _methods_say_how_they_augment(self) -> "Study":
        silent = [name for name, changes in self.methods.items() if not names_augmentation(changes)]
        if silent and not names_augmentation(self.settings):
            raise ValueError(
                f"methods without an augmentation: {', '.join(silent)}. Give each 'augmentation: {{name: gin}}' or "
                "'{name: none}', or name one for all in 'settings'; the job's is in no arm"
            )
        return self

    def arms(self) -> list["ArmSpec"]:
        """Return every arm once that trains on all its sites, in the order of the blocks; seeds vary fastest."""
        return list(dict.fromkeys(spec for block in self.blocks for spec in _combinations(block)))

    def arms_at(self, sites: "SitesOf") -> list["ArmSpec"]:
        """Return every arm once, each followed by those that leave one of its sites out, where a block asks for them.

        Args:
            sites: return the sites of a study that take part in an arm, by name, with their modality.

        Raises:
            ConfigError: there are too few sites to leave one out.
        """
        found: dict[ArmSpec, None] = {}
        for block in self.blocks:
            for spec in _combinations(block):
                found[spec] = None
                if block.leave_one_site_out:
                    found |= dict.fromkeys(_without_each(spec, sites(spec)))
        return list(found)

    def changes(self, spec: "ArmSpec") -> list[dict[str, Any]]:
        """Return the changes to ``experiment.yaml`` that make an arm, in the order in which they apply."""
        method = self.methods.get(spec.method, {"augmentation": {"name": spec.method, "params": {}}})
        organs: dict[str, Any] = {"organs": [spec.organ]} if spec.organ else {}
        return [self.settings, method, organs | {"seed": spec.seed}]


@dataclass(frozen=True)
class ArmSpec:
    """One arm.

    Attributes:
        regime: where the training data is.
        method: its name.
        seed: the seed of the run.
        training_patients: pairs of modality and number of training patients; empty for all.
        without: name of the site that does not train; empty where all do.
        ct_per_mr: CT patients for each MR patient; 0 for all.
        organ: the only one that its network segments; empty for all of the job.
    """

    regime: Regime
    method: str
    seed: int
    training_patients: tuple[tuple[Modality, int], ...] = ()
    without: str = ""
    ct_per_mr: int = 0
    organ: str = ""

    @property
    def patients(self) -> str:
        """Name of the training patients: ``all``, or such as ``10ct_2mr`` or ``5ct_per_mr``."""
        if self.ct_per_mr:
            return f"{self.ct_per_mr}ct_per_mr"
        return "_".join(f"{count}{modality.lower()}" for modality, count in self.training_patients) or "all"

    @property
    def population(self) -> Population:
        """What arms that are compared have in common."""
        return Population(self.patients, self.organ)

    @property
    def name(self) -> str:
        """Unique in a study; names the arm's folder."""
        whole = f"{self.regime}-{self.method}-{self.population}-seed{self.seed}"
        return f"{whole}-without-{self.without}" if self.without else whole


SitesOf = Callable[[ArmSpec], Mapping[str, Modality]]


def _combinations(block: Block) -> Iterable[ArmSpec]:
    patients = tuple(sorted(block.training_patients.items()))
    organs = block.organs or [""]
    for organ, method, regime, seed in product(organs, block.methods, block.regimes, block.seeds):
        yield ArmSpec(regime, method, seed, patients, ct_per_mr=block.ct_per_mr or 0, organ=organ)


def _without_each(spec: ArmSpec, sites: Mapping[str, Modality]) -> list[ArmSpec]:
    members = [name for name, modality in sites.items() if modality in spec.regime.modalities]
    if len(sites) < LEAST_SITES or len(members) < 2:
        has = f"{len(sites)} sites take part in {spec.name}, {len(members)} of them train"
        raise ConfigError(
            f"{has}: too few to leave one out",
            f"take 'leave_one_site_out' out, or add sites: {LEAST_SITES} must take part and 2 must train",
        )
    return [replace(spec, without=name) for name in members]


def load_study(path: Path) -> Study:
    """Read ``study.yaml``; its paths become absolute.

    Raises:
        ConfigError: the file is missing, or a key is unknown or out of range, or its folders are missing.
    """
    study = load_settings(path, Study)
    base = path.resolve().parent
    study = study.model_copy(update={"sites": base / study.sites, "job": base / study.job})
    for role in ("sites", "job"):
        if not os.path.isdir(getattr(study, role)):
            raise ConfigError(
                f"{path.name}: the folder of '{role}' does not exist",
                f"correct '{role}'; it is relative to {path.name}",
            )
    return study

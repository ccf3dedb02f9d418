"""``study.yaml``: which arms a study compares. An arm is a regime, a method and a seed on a set of sites."""

import os
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator, model_validator

from fedgin.augment import augmentation_names
from fedgin.config import Settings, load_settings, spelt
from fedgin.data.site import Modality
from fedgin.errors import ConfigError

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


class Block(Settings):
    """A block of arms: every combination of its regimes, methods and seeds.

    Attributes:
        regimes: where the training data is.
        methods: names under ``methods``, or of registered augmentations.
        seeds: the seeds of the runs.
        training_patients: so many patients of a modality train, shared evenly among its sites; all by default.
            ``{CT: 10, MR: 2}`` is a scarcity of 1:5.
    """

    regimes: list[Regime] = Field(min_length=1, max_length=len(Regime))
    methods: list[Name] = Field(min_length=1, max_length=100)
    seeds: list[Seed] = Field(min_length=1, max_length=100)
    training_patients: dict[Modality, Annotated[int, Field(ge=1, le=100_000)]] = Field(default_factory=dict)


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
            augmentation of that name with its defaults.
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

    def arms(self) -> list["ArmSpec"]:
        """Return every arm once, in the order of the blocks; seeds vary fastest."""
        found: dict[str, ArmSpec] = {}
        for block in self.blocks:
            patients = tuple(sorted(block.training_patients.items()))
            for method, regime, seed in product(block.methods, block.regimes, block.seeds):
                spec = ArmSpec(regime, method, seed, patients)
                found[spec.name] = spec
        return list(found.values())

    def changes(self, spec: "ArmSpec") -> list[dict[str, Any]]:
        """Return the changes to ``experiment.yaml`` that make an arm, in the order in which they apply."""
        method = self.methods.get(spec.method, {"augmentation": {"name": spec.method, "params": {}}})
        return [self.settings, method, {"seed": spec.seed}]


@dataclass(frozen=True)
class ArmSpec:
    """One arm.

    Attributes:
        regime: where the training data is.
        method: its name.
        seed: the seed of the run.
        training_patients: pairs of modality and number of training patients; empty for all.
    """

    regime: Regime
    method: str
    seed: int
    training_patients: tuple[tuple[Modality, int], ...] = ()

    @property
    def population(self) -> str:
        """Name of the training patients: ``all``, or such as ``10ct_2mr``."""
        return "_".join(f"{count}{modality.lower()}" for modality, count in self.training_patients) or "all"

    @property
    def name(self) -> str:
        """Unique in a study; names the arm's folder."""
        return f"{self.regime}-{self.method}-{self.population}-seed{self.seed}"


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

"""A provisioned federation of two CT sites and an MR site, and jobs small enough for it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedgin.data.site import SiteContract, load_site
from fedgin.flare.jobs.job import Job, load_job, stage_job
from poc.federation import LocalFederation, provision, running
from tests.places import JOBS
from tests.sites import tiny_experiment, write_site

SITES = {"ct-a": "CT", "ct-b": "CT", "mr-a": "MR"}


def contracts(folder: Path, training: int = 2) -> dict[str, SiteContract]:
    """Write the sites' data, so many training cases each."""
    counts = (training, 1, 1)
    return {name: load_site(write_site(folder / name, name, kind, counts=counts)) for name, kind in SITES.items()}


@contextlib.contextmanager
def federation_of_three(
    root: Path, *, encryption_key: int | None = None, training: int = 2
) -> Iterator[LocalFederation]:
    """Run server and sites below ``root``."""
    with running(
        provision(contracts(root / "data", training), root / "federation", encryption_key=encryption_key), list(SITES)
    ) as made:
        yield made


def stage_tiny(name: str, target: Path, rounds: int = 2, **changes: Any) -> Job:
    """Copy one of our jobs for the three sites, with changes to its experiment."""
    tiny = tiny_experiment().model_dump(mode="json", include={"organs", "preprocessing", "training"})
    return stage_job(load_job(JOBS / name), target, sites=len(SITES), rounds=rounds, changes=tiny | changes)

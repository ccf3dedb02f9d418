"""``meta.json``: for which sites a job is. FLARE adds its own record of the job and sends both to every site."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nvflare.apis.job_def import ALL_SITES, SERVER_SITE_NAME, JobMetaKey

from fedgin.errors import ConfigError
from fedgin.flare.jobs.comparison import check_same
from fedgin.flare.jobs.files import APP, META
from fedgin.flare.jobs.numbers import FIX, MOST_SITES
from fedgin.train.experiment import Experiment

SITE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
# What FLARE's server writes into its record of a job. Not here: what a job could ask for beyond its configuration, such
# as a launcher, a privacy scope, sites without which it fails, or properties of the console's own.
RECORD = {
    key.value
    for key in (
        JobMetaKey.JOB_ID,
        JobMetaKey.JOB_FOLDER_NAME,
        JobMetaKey.SUBMITTER_NAME,
        JobMetaKey.SUBMITTER_ORG,
        JobMetaKey.SUBMITTER_ROLE,
        JobMetaKey.STATUS,
        JobMetaKey.DATA_STORAGE_FORMAT,
        JobMetaKey.SUBMIT_TIME,
        JobMetaKey.SUBMIT_TIME_ISO,
        JobMetaKey.START_TIME,
        JobMetaKey.DURATION,
        JobMetaKey.JOB_DEPLOY_DETAIL,
        JobMetaKey.SCHEDULE_COUNT,
        JobMetaKey.CLONED_FROM,
        JobMetaKey.LAST_SCHEDULE_TIME,
        JobMetaKey.SCHEDULE_HISTORY,
        JobMetaKey.JOB_CLIENTS,
        JobMetaKey.STUDY,
    )
}


def meta_name(experiment: Experiment) -> str:
    """Return the name under which FLARE's console lists a job."""
    return f"evaluate-{experiment.name}" if experiment.evaluates else experiment.name


def make_meta(name: str, min_clients: int, sites: Sequence[str]) -> dict[str, Any]:
    """Return ``meta.json``.

    Args:
        name: :func:`meta_name`.
        min_clients: with fewer sites the job does not start.
        sites: by name; without, the job is for all that are connected when it starts.
    """
    return {
        JobMetaKey.JOB_NAME.value: name,
        JobMetaKey.RESOURCE_SPEC.value: {},
        JobMetaKey.MIN_CLIENTS.value: min_clients,
        JobMetaKey.DEPLOY_MAP.value: {APP: [SERVER_SITE_NAME, *sites] if sites else [ALL_SITES]},
    }


def check_meta(found: object, name: str, min_clients: int) -> tuple[str, ...]:
    """Check ``meta.json`` and return the sites that it names.

    Args:
        found: what the file says.
        name: :func:`meta_name`.
        min_clients: of ``config_fed_server.json``.

    Raises:
        ConfigError: it says anything else.
    """
    sites = _named_sites(found)
    check_same(found, make_meta(name, min_clients, sites), source=META, fix=FIX)
    return sites


def check_record(record: Mapping[str, Any]) -> None:
    """Check FLARE's record of a job, as the server keeps it and sends it to a site that is to deploy the job.

    Raises:
        ConfigError: it says more than ``meta.json`` of a job of ours and what FLARE itself writes.
    """
    said = {str(key): value for key, value in record.items() if str(key) not in RECORD}
    name, count = (said.get(key.value) for key in (JobMetaKey.JOB_NAME, JobMetaKey.MIN_CLIENTS))
    if not isinstance(name, str) or type(count) is not int:
        raise ConfigError(f"{META}: no name, or no min_clients", FIX)
    check_meta(said, name, count)


def _named_sites(found: object) -> tuple[str, ...]:
    deployed = found.get(JobMetaKey.DEPLOY_MAP.value) if isinstance(found, dict) else None
    names = deployed.get(APP) if isinstance(deployed, dict) else None
    if names == [ALL_SITES]:
        return ()
    named = names[1:] if isinstance(names, list) and names[:1] == [SERVER_SITE_NAME] else []
    plain = [name for name in named if isinstance(name, str) and SITE_NAME.fullmatch(name)]
    if not 1 <= len(named) == len(set(plain)) <= MOST_SITES:
        raise ConfigError(
            f"{META}: deploy_map is neither {{'{APP}': ['{ALL_SITES}']}} nor "
            f"{{'{APP}': ['{SERVER_SITE_NAME}', and the names of sites, each once]}}",
            FIX,
        )
    return tuple(plain)

"""What a kit's ``local`` folder allows: classes, roles, privacy scope, storage, resources."""

import json
import shutil
from pathlib import Path
from typing import Any

from fedgin.errors import ConfigError
from fedgin.files import write_text
from fedgin.flare.jobs.allow_list import resources

VALIDATOR = {"path": "fedgin.flare.jobs.job_validator.JobValidator", "args": {}}
CRASHED_JOBS = {"id": "crashed_jobs", "path": "fedgin.flare.server.crashed_jobs.CrashedJobs", "args": {}}
FAILED_SITES = {"id": "failed_sites", "path": "fedgin.flare.server.failed_sites.FailedSites", "args": {}}
FREED_MEMORY = {"id": "freed_memory", "path": "fedgin.flare.server.freed_memory.FreedMemory", "args": {}}
JOB_MANAGER = "fedgin.flare.server.job_manager.JobManager"
SERVER_LAUNCHER = "fedgin.flare.job_launchers.ServerJobLauncher"
SITE_LAUNCHER = "fedgin.flare.job_launchers.SiteJobLauncher"
DEPLOYER = {"id": "app_deployer", "path": "fedgin.flare.client.job_deployer.JobDeployer", "args": {}}
EVENTS = {"id": "security_events", "path": "fedgin.flare.audit.security_events.SecurityEvents", "args": {}}
DOUBLE_START = {"id": "double_start", "path": "fedgin.flare.audit.double_start.DoubleStart", "args": {}}
REQUEST_FILTER = {"id": "request_filter", "path": "fedgin.flare.audit.request_filter.RequestFilter", "args": {}}
RESTARTED_SITES = {"id": "restarted_sites", "path": "fedgin.flare.server.restarted_sites.RestartedSites", "args": {}}
UPLOADS = {"id": "uploads", "path": "fedgin.flare.server.uploads.Uploads", "args": {}}
# A site's part that uploads its log, and the server's that stores it under whatever path a sender names.
LOG_PARTS = ("site_log_streamer", "log_receiver")


def apply_policies(local: Path, policies: Path, *, storage: Path | None = None) -> None:
    """Write the policies into a kit that FLARE has just made.

    Args:
        local: the kit's ``local`` folder with FLARE's ``resources.json.default``.
        policies: folder with ``authorization.json``, ``comm_config.json``, ``resources.json`` (what differs from
            FLARE's own) and, for a site, ``privacy.json``.
        storage: the storage of the server; ``None`` for a site.

    Raises:
        ConfigError: a policy file is missing or no JSON.
    """
    made = local / "resources.json.default"
    values = _merge(_read(made), _read(policies / "resources.json"))
    values |= {**resources(), "app_validator": VALIDATOR}
    stock = [item for item in values["components"] if item["id"] not in LOG_PARTS]
    _stock_part(stock, "process_launcher")["path"] = SITE_LAUNCHER if storage is None else SERVER_LAUNCHER
    values["components"] = [*stock, EVENTS, DOUBLE_START, REQUEST_FILTER]
    if storage is not None:
        _store_in(storage, values)
        values["components"] += [CRASHED_JOBS, FAILED_SITES, FREED_MEMORY, RESTARTED_SITES, UPLOADS]
    else:
        values["components"].append(DEPLOYER)
    write_text(made, json.dumps(values, indent=2) + "\n")
    _copy(policies / "authorization.json", local / "authorization.json.default")
    _copy(policies / "comm_config.json", local / "comm_config.json")
    if (policies / "privacy.json").is_file():
        _copy(policies / "privacy.json", local / "privacy.json")


def _store_in(storage: Path, values: dict[str, Any]) -> None:
    """Keep jobs, with our manager, out of FLARE's default: a folder under /tmp that all projects of a machine share."""
    values["snapshot_persistor"]["args"]["storage"]["args"]["root_dir"] = str(storage / "snapshots")
    manager = _stock_part(values["components"], "job_manager")
    manager["path"] = JOB_MANAGER
    manager["args"]["uri_root"] = str(storage / "jobs")


def _stock_part(components: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in components if item["id"] == name)


def _copy(policy: Path, target: Path) -> None:
    _read(policy)
    shutil.copyfile(policy, target)


def _merge(base: Any, changes: Any) -> Any:
    """Merge mappings by key and lists of components by id; everything else is replaced."""
    if isinstance(base, dict) and isinstance(changes, dict):
        return {**base, **{key: _merge(base.get(key), value) for key, value in changes.items()}}
    if isinstance(base, list) and isinstance(changes, list) and all("id" in item for item in base + changes):
        known = {item["id"]: item for item in base}
        return list((known | {item["id"]: _merge(known.get(item["id"]), item) for item in changes}).values())
    return changes


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        raise ConfigError(f"{path}: missing or not readable as JSON", "start from provisioning/policies") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a JSON object", "start from provisioning/policies")
    return values

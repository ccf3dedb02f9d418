"""Where the server keeps jobs, models and logs: is there room, and may this user write?"""

import json
import os
from pathlib import Path
from typing import Any

from fedgin.data.validation.findings import Finding, fail
from fedgin.deploy.doctor.machine import check_disk, check_writable

# FLARE reads the first of them that is there.
SETTINGS = ("resources.json", "resources.json.default")
WRITABLE = "run the doctor as the user of the server; let this user own the kit and 'server.storage' of sites.yaml"


def check_storage(kit: Path) -> list[Finding]:
    """Check the folders of jobs and of snapshots, and the kit itself, into which a running job writes.

    Args:
        kit: the server's unpacked kit.
    """
    local = kit / "local"
    settings = next((local / name for name in SETTINGS if os.path.isfile(local / name)), local / SETTINGS[-1])
    try:
        folders = {**_read_folders(json.loads(settings.read_text(encoding="utf-8"))), "runs": kit}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        message = f"local/{settings.name} does not say where jobs are stored"
        return [fail("storage", message, "unpack the kit again as it was sent; edit a copy without '.default'")]
    return check_disk(folders) + check_writable(folders, WRITABLE)


def _read_folders(resources: dict[str, Any]) -> dict[str, Path]:
    manager = next(item for item in resources["components"] if item["id"] == "job_manager")
    snapshots = resources["snapshot_persistor"]["args"]["storage"]["args"]["root_dir"]
    return {"jobs": Path(manager["args"]["uri_root"]), "snapshots": Path(snapshots)}

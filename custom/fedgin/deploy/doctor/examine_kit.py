"""All checks of the machine of a server, or of a person's console."""

from collections.abc import Callable
from pathlib import Path

from fedgin.data.validation.findings import Finding
from fedgin.deploy.doctor.certificate import check_certificate
from fedgin.deploy.doctor.clock import check_clock
from fedgin.deploy.doctor.examine import Check, run_checks
from fedgin.deploy.doctor.kit import SERVER, KitKind, read_kit, startup_folder
from fedgin.deploy.doctor.machine import check_disk, check_writable
from fedgin.deploy.doctor.network import check_server
from fedgin.deploy.doctor.packages import check_packages, check_python
from fedgin.deploy.doctor.port import check_port
from fedgin.deploy.doctor.storage import check_storage


def examine_kit(
    folder: Path, kind: KitKind, lock: Path, *, progress: Callable[[str], None] = lambda check: None
) -> list[Finding]:
    """Run every check of a kit that is no site's; none of them changes anything, none stops the others.

    Args:
        folder: the kit, or its ``startup`` folder.
        kind: whose kit it is.
        lock: requirements file with exact versions.
        progress: called with the name of each check before it starts.
    """
    root = startup_folder(folder).resolve().parent
    kit, kit_findings = read_kit(folder, kind)
    checks: list[Check] = [
        ("storage", lambda: check_storage(root) if kind is SERVER else _check_transfer(root)),
        ("Python", check_python),
        ("packages", lambda: check_packages(lock)),
        ("clock", lambda: check_clock(kit.certificate if kit else None)),
        ("kit", lambda: kit_findings),
    ]
    if kit is not None:
        checks += [
            ("certificate", lambda: check_certificate(kit, kit.person or kit.host, kind.settings)),
            ("server", lambda: check_port(kit) if kind is SERVER else check_server(kit)),
        ]
    return run_checks(checks, progress)


def _check_transfer(root: Path) -> list[Finding]:
    """Check where FLARE's console puts what it downloads."""
    folders = {"downloads": root / "transfer"}
    return check_disk(folders) + check_writable(folders, "run the doctor as the person who works with this kit")

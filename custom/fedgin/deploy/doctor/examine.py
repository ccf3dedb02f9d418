"""All checks of a site's machine, in the order in which an engineer would mend them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedgin.data.site import SiteContract
from fedgin.data.validation.findings import Finding
from fedgin.deploy.doctor.accelerator import check_gpu
from fedgin.deploy.doctor.certificate import check_certificate
from fedgin.deploy.doctor.clock import check_clock
from fedgin.deploy.doctor.dataset import check_dataset
from fedgin.deploy.doctor.kit import read_kit
from fedgin.deploy.doctor.limits import check_pause
from fedgin.deploy.doctor.machine import check_disk, check_memory, check_shared_memory, check_writable
from fedgin.deploy.doctor.network import check_server
from fedgin.deploy.doctor.packages import check_packages, check_python

Check = tuple[str, Callable[[], list[Finding]]]
WRITABLE = "run the doctor as the user of the client; name a writable 'cache_dir' in site.yaml, outside of the data"


@dataclass(frozen=True)
class Examination:
    """What to examine.

    Attributes:
        contract: the site.
        validation: folder of the last validation.
        lock: requirements file with exact versions.
        kit: folder of the site's FLARE startup kit; ``None`` leaves certificate and server out.
        runs: folder that runs are written to.
    """

    contract: SiteContract
    validation: Path
    lock: Path
    kit: Path | None
    runs: Path


def examine(what: Examination, *, progress: Callable[[str], None] = lambda check: None) -> list[Finding]:
    """Run every check; none of them changes anything, none stops the others.

    Args:
        what: the site and where its parts are.
        progress: called with the name of each check before it starts.
    """
    kit, kit_findings = (None, []) if what.kit is None else read_kit(what.kit)
    checks: list[Check] = [
        ("data", lambda: check_dataset(what.contract, what.validation)),
        ("limits", lambda: check_pause(what.contract.limits)),
        ("disk", lambda: check_disk({"cache": what.contract.cache_dir, "runs": what.runs})),
        ("writable folders", lambda: check_writable(_written(what), WRITABLE)),
        ("memory", check_memory),
        ("shared memory", check_shared_memory),
        ("GPU", lambda: check_gpu(what.contract)),
        ("Python", check_python),
        ("packages", lambda: check_packages(what.lock)),
        ("clock", lambda: check_clock(kit.certificate if kit else None)),
        ("kit", lambda: kit_findings),
    ]
    if kit is not None:
        checks += [
            ("certificate", lambda: check_certificate(kit, what.contract.site, "site.yaml")),
            ("server", lambda: check_server(kit)),
        ]
    return run_checks(checks, progress)


def run_checks(checks: list[Check], progress: Callable[[str], None]) -> list[Finding]:
    """Run checks in their order.

    Args:
        checks: their names, and what they run.
        progress: called with the name of each check before it starts.
    """
    found: list[Finding] = []
    for name, check in checks:
        progress(name)
        found += check()
    return found


def _written(what: Examination) -> dict[str, Path]:
    cache = what.contract.cache_dir
    return {"cache": cache, "privacy ledger": cache.parent / "fedgin-privacy", "runs": what.runs}

"""The clock: a wrong one makes valid certificates look expired, and it cannot ask the internet here."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

import fedgin
from fedgin.data.validation.findings import Finding, fail, passed, warn

FIX = "set the clock, and let it be kept by NTP (timedatectl set-ntp true)"
# File times may be in another zone's wall time on some file systems.
SLACK = timedelta(days=1)


def check_clock(certificate: x509.Certificate | None) -> list[Finding]:
    """Check that now is not before what already exists, and whether the system says that NTP keeps the clock.

    FLARE's server tells no time (neither its TLS nor its HTTP/2 answers carry a date), so that there is nothing to
    compare with to the second; a skew that matters to certificates is found.

    Args:
        certificate: the kit's, if there is a kit; it cannot be used before it was issued.
    """
    now = datetime.now(UTC)
    if now + SLACK < datetime.fromtimestamp(Path(fedgin.__file__).stat().st_mtime, UTC):
        return [fail("clock", "the clock is before the day this package was installed", FIX)]
    if certificate is not None and now < certificate.not_valid_before_utc:
        return [fail("clock", "the clock is before the time the kit's certificate was issued", FIX)]
    synchronised = _ntp_synchronised()
    if synchronised is False:
        return [warn("clock", "the system says that its clock is not synchronised", FIX)]
    said = "synchronised by NTP" if synchronised else "after installation and certificate; no time service to ask"
    return [passed("clock", f"{now:%Y-%m-%d %H:%M} UTC, {said}")]


def _ntp_synchronised() -> bool | None:
    """Return what systemd says; ``None`` where it is not running, as in most containers."""
    program = shutil.which("timedatectl")
    if program is None:
        return None
    command = [program, "show", "--property=NTPSynchronized", "--value"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(answer)

"""Say at a participant's start what FLARE does not: that its certificate is not valid now, or will soon not be."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

# A kit is renewed 30 days before its end.
SOON = timedelta(days=30)


def certificate_warning(startup: Path, now: datetime | None = None) -> str:
    """Return a line with the fix when the certificate of a kit cannot be used now or ends soon; else nothing.

    With such a certificate FLARE tries to connect for ever, without a word, at the site as at the server.

    Args:
        startup: folder with ``client.crt`` or ``server.crt``; without a readable one there is nothing to say.
        now: by default this machine's time.
    """
    now = now or datetime.now(UTC)
    for name in ("client.crt", "server.crt"):
        with contextlib.suppress(OSError, ValueError):
            certificate = x509.load_pem_x509_certificate((startup / name).read_bytes())
            return _judge(certificate.not_valid_before_utc, certificate.not_valid_after_utc, now)
    return ""


def _judge(begin: datetime, end: datetime, now: datetime) -> str:
    clock = f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC"
    if now < begin:
        return f"the certificate of this kit is valid from {begin:%Y-%m-%d %H:%M} UTC on, {clock}. Fix: set the clock"
    if now > end:
        return f"the certificate of this kit ended on {end:%Y-%m-%d}, {clock}. Fix: ask the project lead for a new kit"
    if end - now < SOON:
        return f"the certificate of this kit ends on {end:%Y-%m-%d}. Fix: ask the project lead for a new kit before"
    return ""

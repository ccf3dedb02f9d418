"""The kit's certificate: whose it is, who signed it, until when it holds and whether the key belongs to it."""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from fedgin.data.validation.findings import Finding, fail, passed, warn
from fedgin.deploy.doctor.kit import SITE, Kit

WARN_DAYS = 30
ASK = "ask the project lead for a new kit"


def check_certificate(kit: Kit, name: str, said_by: str) -> list[Finding]:
    """Check chain, validity, name and key without the network.

    Args:
        kit: the kit.
        name: whose certificate it should be.
        said_by: the file that says so.
    """
    return [
        _check_chain(kit),
        _check_expiry("certificate_expiry", f"the {kit.kind.owner}'s certificate", kit.certificate),
        _check_expiry("authority_expiry", "the federation's root certificate", kit.root),
        _check_name(kit, name, said_by),
        _check_key(kit),
    ]


def _check_chain(kit: Kit) -> Finding:
    try:
        kit.certificate.verify_directly_issued_by(kit.root)
    except (ValueError, TypeError, InvalidSignature):
        message = "the certificate was not signed by the kit's own rootCA.pem"
        return fail("certificate_chain", message, f"files of two kits were mixed: unpack one kit again, or {ASK}")
    return passed("certificate_chain", "signed by the kit's rootCA.pem")


def _check_expiry(code: str, whose: str, certificate: x509.Certificate) -> Finding:
    end = certificate.not_valid_after_utc
    days = (end - datetime.now(UTC)).days
    if days < 0:
        return fail(code, f"{whose} ended on {end:%Y-%m-%d}", ASK)
    if days < WARN_DAYS:
        return warn(code, f"{whose} ends in {days} days, on {end:%Y-%m-%d}", f"{ASK} before that day")
    return passed(code, f"{whose} holds until {end:%Y-%m-%d}")


def _check_name(kit: Kit, name: str, said_by: str) -> Finding:
    names = [str(part.value) for part in kit.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names == [name]:
        return passed("certificate_name", f"the certificate is for {name}")
    message = f"the certificate is for '{', '.join(names)}', {said_by} says '{name}'"
    mixed = f"files of two kits were mixed: unpack one kit again, or {ASK}"
    fix = "correct 'site' in site.yaml, or use the kit of this site" if kit.kind is SITE else mixed
    return fail("certificate_name", message, fix)


def _check_key(kit: Kit) -> Finding:
    base = kit.kind.base
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if kit.key.public_key().public_bytes(*form) == kit.certificate.public_key().public_bytes(*form):
        return passed("certificate_key", f"{base}.key belongs to the certificate")
    return fail("certificate_key", f"{base}.key does not belong to {base}.crt", f"unpack one kit again, or {ASK}")

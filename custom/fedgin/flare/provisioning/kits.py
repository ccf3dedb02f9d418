"""Issue startup kits: only those that are new, changed or near their end; every other stays byte for byte."""

import hashlib
import json
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fedgin.errors import ConfigError
from fedgin.files import hash_file, whole_file
from fedgin.flare.jobs.encryption_library import check_encryption_installed
from fedgin.flare.provisioning.authority import Authority
from fedgin.flare.provisioning.federation import Federation, Person, Server, Site
from fedgin.flare.provisioning.issued import IssuedKit, IssuedKits, read_issued, write_issued
from fedgin.flare.provisioning.project import make_project
from fedgin.folders import alone, claimed_folder
from fedgin.manifest import package_hash

KITS = "startup kits"
RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class KitRow:
    """A line of the final table.

    Attributes:
        name: participant.
        contact: to whom the kit goes.
        status: ``new``, ``changed``, ``renewed``, ``unchanged`` or ``withdrawn``.
        kit: what was issued; ``None`` for someone who withdrew before any kit was made.
    """

    name: str
    contact: str
    status: str
    kit: IssuedKit | None


def issue_kits(federation: Federation, policies: Path, out: Path, *, renew: Collection[str] = ()) -> list[KitRow]:
    """Bring the kits under ``out/PROJECT`` in line with ``sites.yaml``.

    Certificates are made once. They are renewed, with a new key, 30 days before their end or when named in ``renew``;
    the server's also when it has other host names.

    Args:
        federation: who takes part.
        policies: folder with ``server/`` and ``site/``.
        out: parent of the project's folder.
        renew: participants whose certificates are made anew.

    Returns:
        One row a participant, in the order of ``sites.yaml``.

    Raises:
        FolderError: the project's folder holds something else, or another process issues kits there.
        ConfigError: a participant vanished from ``sites.yaml``, changed role or organisation, or is unknown; or the
            sites are to share a key, and TenSEAL is not installed; or the authority's state is missing.
        ProvisioningError: FLARE refused; nothing is changed then.
    """
    if federation.encryption_key is not None:
        check_encryption_installed()
    folder = out / federation.project
    participants = dict(_participants(federation))
    before = read_issued(folder)
    _check(federation, before, participants, renew)
    if not before.kits:
        claimed_folder(folder, KITS)
    with alone(folder):  # two at once would take each other's certificates and kits away
        return _issue(federation, policies, folder, participants, renew)


def _issue(
    federation: Federation,
    policies: Path,
    folder: Path,
    participants: dict[str, Server | Site | Person],
    renew: Collection[str],
) -> list[KitRow]:
    """Make the kits that :func:`issue_kits` describes, in a folder that this process has to itself."""
    record = read_issued(folder)
    authority = Authority(folder / "authority", federation.project)
    expiring = _expiring(authority, record, participants) | _renamed(authority, federation.server) | set(renew)
    digests = {name: _digest(item, federation, policies) for name, item in participants.items()}
    status = {name: _status(record.kits.get(name), digests[name], name in expiring, folder) for name in participants}
    wanted = {name for name, value in status.items() if value != "unchanged"}
    kits = dict(record.kits)
    if wanted:
        made = authority.build(make_project(federation, policies, authority.encryption_keys), renew=expiring)
        for name in sorted(wanted):
            archive, checksum = _pack(made / name, folder)
            expires = authority.expiry(name)
            assert expires is not None
            identity = _identity(participants[name])
            kits[name] = IssuedKit(
                digest=digests[name], identity=identity, archive=archive, sha256=checksum, expires=expires
            )
        authority.discard()
    for name in kits.keys() - participants.keys():
        (folder / kits[name].archive).unlink(missing_ok=True)
    write_issued(folder, IssuedKits(kits=kits))
    return [*_rows(federation, participants, status, kits)]


def _participants(federation: Federation) -> Iterator[tuple[str, Server | Site | Person]]:
    yield federation.server.host, federation.server
    for item in federation.active():
        yield item.name, item


def _check(
    federation: Federation, record: IssuedKits, participants: dict[str, Server | Site | Person], renew: Collection[str]
) -> None:
    gone = {item.name for item in federation.everyone if item.withdrawn}
    for name, kit in record.kits.items():
        if name in gone:
            continue
        if name not in participants:
            raise ConfigError(
                f"'{name}' has a kit but is not in sites.yaml", "put it back, with `withdrawn: true` if it has left"
            )
        if kit.identity != _identity(participants[name]):
            raise ConfigError(
                f"'{name}': role or organisation differ from the certificate that was issued",
                "FLARE binds both and cannot revoke: withdraw this name and add another one",
            )
    unknown = sorted(set(renew) - participants.keys())
    if unknown:
        raise ConfigError(f"cannot renew '{unknown[0]}': not in sites.yaml or withdrawn", "name an active participant")


def _expiring(authority: Authority, record: IssuedKits, participants: Collection[str]) -> set[str]:
    """Return whose certificate ends soon, or is in the kit another one than the authority's.

    A run that was killed leaves such a kit, whose own certificate nobody would look at again.
    """
    if record.kits and not authority.state.is_file():
        raise ConfigError(f"{authority.state}: missing", "restore it from the backup of this folder")
    limit = datetime.now(UTC) + RENEW_BEFORE
    ends = {name: authority.expiry(name) for name in participants}
    soon = {name for name, end in ends.items() if end is not None and end < limit}
    return soon | {name for name, kit in record.kits.items() if name in ends and kit.expires != ends[name]}


def _renamed(authority: Authority, server: Server) -> set[str]:
    hosts = authority.hosts(server.host)
    return set() if hosts in (None, {server.host, *server.host_names}) else {server.host}


def _status(kit: IssuedKit | None, digest: str, expiring: bool, folder: Path) -> str:
    if kit is None:
        return "new"
    if expiring:
        return "renewed"
    whole = (folder / kit.archive).is_file() and hash_file(folder / kit.archive) == kit.sha256
    return "unchanged" if whole and kit.digest == digest else "changed"


def _digest(item: Server | Site | Person, federation: Federation, policies: Path) -> str:
    """Hash all that goes into a kit; of other participants only the names that the server refuses do."""
    server = federation.server
    parts: dict[str, object] = {
        "project": federation.project,
        "server": [server.host, server.port],
        "self": item.model_dump(mode="json", exclude_none=True),
    }
    if not isinstance(item, Person):
        kind = "server" if isinstance(item, Server) else "site"
        parts["policies"] = {path.name: hash_file(path) for path in sorted((policies / kind).glob("*.json"))}
        parts["package"] = package_hash()
        parts["encryption_key"] = federation.encryption_key
    if isinstance(item, Server):
        parts["withdrawn"] = sorted(site.name for site in federation.sites if site.withdrawn)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _identity(item: Server | Site | Person) -> dict[str, str]:
    role = {"role": item.role.value} if isinstance(item, Person) else {}
    return {"organisation": item.organisation, **role}


def _pack(kit: Path, folder: Path) -> tuple[str, str]:
    archive = folder / f"{kit.name}.tar.gz"
    with whole_file(archive) as part:
        part.touch(mode=0o600)  # before the first key is in it, and for good if this is killed
        with tarfile.open(part, "w:gz") as tar:
            tar.add(kit, arcname=kit.name)
    return archive.name, hash_file(archive)


def _rows(
    federation: Federation,
    participants: dict[str, Server | Site | Person],
    status: dict[str, str],
    kits: dict[str, IssuedKit],
) -> Iterator[KitRow]:
    server = federation.server
    yield KitRow(server.host, server.contact, status[server.host], kits[server.host])
    for item in federation.everyone:
        contact = item.email if isinstance(item, Person) else item.contact
        yield KitRow(item.name, contact, status.get(item.name, "withdrawn"), kits.get(item.name))

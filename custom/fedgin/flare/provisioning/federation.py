"""The federation as the project lead describes it in ``sites.yaml``."""

import ipaddress
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from fedgin.config import Settings, load_settings, spelt
from fedgin.data.site import Modality

# FLARE's own words: targets of console commands, cell names and the simulator's participants.
RESERVED = {"server", "client", "admin", "all", "relay", "simulator_server", "simulator_admin", "state", "resources"}
Organisation = Annotated[
    str, StringConstraints(pattern=spelt(r"^[A-Za-z0-9_]+$", "letters, digits and '_'"), max_length=64)
]
Email = Annotated[
    str,
    StringConstraints(
        pattern=spelt(
            r"^[A-Za-z0-9][A-Za-z0-9._+-]*@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$", "an address, such as lead@example.org"
        ),
        max_length=64,
    ),
]
SiteName = Annotated[
    str,
    StringConstraints(
        pattern=spelt(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "small letters, digits and '-', not first or last"),
        max_length=63,
    ),
]
LABEL = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")  # IGNORECASE would let the Kelvin sign in as a k


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _host_name(host: str) -> str:
    if not all(LABEL.fullmatch(label) for label in host.split(".")):
        raise ValueError("not a host name: letters, digits, '-' and '.' only")
    return host


def _host_or_address(host: str) -> str:
    if _is_address(host) and ":" in host:
        raise ValueError("FLARE takes no IPv6 address; give a name for it")
    return _host_name(host)


Host = Annotated[str, StringConstraints(max_length=253), AfterValidator(_host_or_address)]


class Role(StrEnum):
    """What a person may do in the console; the policies under ``provisioning/policies`` spell it out."""

    PROJECT_ADMIN = "project_admin"
    ORG_ADMIN = "org_admin"
    LEAD = "lead"
    MEMBER = "member"


class Server(Settings):
    """The machine that aggregates.

    Attributes:
        host: its name in DNS, which is also its identity in the certificate; sites connect to it.
        host_names: other names, and IPv4 addresses, under which it is reached; the certificate holds them all.
        port: the one port that it listens on.
        organisation: who runs it; letters, digits and underscores.
        contact: address to which its kit goes.
        storage: absolute folder on the server for jobs and their results; a folder of the project is made in it.
    """

    host: str = Field(max_length=63)
    host_names: list[Host] = Field(default_factory=list, max_length=50)
    port: int = Field(default=8002, ge=1024, le=65535)
    organisation: Organisation
    contact: Email
    storage: Path = Path("/var/lib/fedgin")

    @field_validator("host")
    @classmethod
    def _host_is_a_name(cls, host: str) -> str:
        if _is_address(host):
            raise ValueError("the server's identity is a name; give the host's name, and the address in host_names")
        return _host_name(host)

    @field_validator("storage")
    @classmethod
    def _storage_is_absolute(cls, storage: Path) -> Path:
        if not storage.is_absolute():
            raise ValueError("expected an absolute path on the server")
        return storage


class Site(Settings):
    """A hospital.

    Attributes:
        name: lower-case letters, digits and '-'; the certificate's identity and the ``site`` of ``site.yaml``.
        organisation: letters, digits and underscores; an ``org_admin`` may operate the sites of the own organisation.
        modality: ``CT`` or ``MR``.
        contact: address to which its kit goes.
        gpus: how many GPUs jobs may use there.
        gpu_memory_gib: the memory of each of them.
        connect_to: under which of the server's names this site reaches it; by default ``server.host``.
        withdrawn: the site has left; its name is never given again.
    """

    name: SiteName
    organisation: Organisation
    modality: Modality
    contact: Email
    gpus: int = Field(default=0, ge=0, le=64)
    gpu_memory_gib: int = Field(default=0, ge=0, le=1024)
    connect_to: Host | None = None
    withdrawn: bool = False


class Person(Settings):
    """Someone with an admin console.

    Attributes:
        email: the person's name in FLARE; the kit goes to it.
        organisation: letters, digits and underscores.
        role: bound into the certificate.
        connect_to: as a site's.
        withdrawn: the kit is not issued any more. FLARE refuses no valid certificate of a person.
    """

    email: Email
    organisation: Organisation
    role: Role
    connect_to: Host | None = None
    withdrawn: bool = False

    @property
    def name(self) -> str:
        """The name that FLARE knows."""
        return self.email


class Federation(Settings):
    """``sites.yaml``.

    Attributes:
        project: its name for good; a version is never part of it.
        server: the one server.
        sites: the hospitals.
        people: who may use the console.
        validity_days: the days of validity of certificates that are made from now on.
        encryption_key: number of the key that all sites share for encrypted jobs, from 1; another number makes a new
            key and new kits for server and sites. ``None``: there is no key, and encrypted jobs are refused.
    """

    project: Annotated[
        str,
        StringConstraints(
            pattern=spelt(r"^[a-z][a-z0-9_-]*[a-z0-9]$", "small letters, digits, '_' and '-', a letter first"),
            max_length=40,
        ),
    ]
    server: Server
    sites: list[Site] = Field(min_length=1)
    people: list[Person] = Field(min_length=1)
    validity_days: int = Field(default=360, ge=30, le=1095)
    encryption_key: int | None = Field(default=None, ge=1, le=9999)

    @field_validator("project")
    @classmethod
    def _project_has_no_version(cls, project: str) -> str:
        if re.search(r"(^|[-_])v\d|[-_]\d+([-_]\d+)+", project):
            raise ValueError("a version is not part of the name: certificates belong to the name for years")
        return project

    @model_validator(mode="after")
    def _names_differ(self) -> "Federation":
        seen: set[str] = set()
        for name in (self.server.host, *(item.name for item in self.everyone)):
            if name.lower() in RESERVED:
                raise ValueError(f"'{name}' is a word of FLARE's own; choose another name")
            if name.lower() in seen:
                raise ValueError(f"the name '{name}' is given twice")
            seen.add(name.lower())
        return self

    @model_validator(mode="after")
    def _someone_can_work(self) -> "Federation":
        if not any(not site.withdrawn for site in self.sites):
            raise ValueError("every site is withdrawn")
        if not any(person.role is Role.PROJECT_ADMIN and not person.withdrawn for person in self.people):
            raise ValueError("nobody is project_admin: nobody could withdraw a site or stop the server")
        return self

    @model_validator(mode="after")
    def _everyone_reaches_the_server(self) -> "Federation":
        names = [self.server.host, *self.server.host_names]
        for item in self.everyone:
            if item.connect_to is not None and item.connect_to not in names:
                said = f"'{item.name}' connects to '{item.connect_to}', which is not in the server's certificate"
                raise ValueError(f"{said}; its names: {', '.join(names)}. Add it to server.host_names")
        return self

    @property
    def everyone(self) -> list[Site | Person]:
        """Sites and people, also those who have left."""
        return [*self.sites, *self.people]

    def active(self) -> Iterator[Site | Person]:
        """Yield sites and people who take part."""
        yield from (item for item in self.everyone if not item.withdrawn)


def load_federation(path: Path) -> Federation:
    """Read ``sites.yaml``.

    Raises:
        ConfigError: a key is unknown, missing or out of range, or names clash.
    """
    return load_settings(path, Federation)

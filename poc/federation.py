"""A federation of real processes on this machine: kits from ``fedgin provision``, TLS on loopback."""

import contextlib
import os
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from fedgin.data.site import SiteContract
from fedgin.errors import FedginError
from fedgin.flare.provisioning.federation import Federation, Person, Role, Server, Site
from fedgin.flare.provisioning.kits import issue_kits
from fedgin.processes import few_threads

POLICIES = Path(__file__).resolve().parents[1] / "provisioning" / "policies"
SERVER = "localhost"
PEOPLE = {role: f"{role.value.replace('_', '-')}@example.org" for role in Role}


class StartError(FedginError):
    """A participant ended while it should run."""

    code = "FG-061"


@dataclass
class LocalFederation:
    """Unpacked kits, and the processes that were started from them.

    Attributes:
        folder: holds one folder a participant.
        processes: by participant.
        within: the beginning of a command that starts the rest of it elsewhere, such as in another network, by
            participant.
    """

    folder: Path
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    within: dict[str, list[str]] = field(default_factory=dict)

    def kit(self, name: str) -> Path:
        """Return a participant's unpacked kit."""
        return self.folder / name

    def admin(self, role: Role) -> Path:
        """Return the kit of the person with this role."""
        return self.kit(PEOPLE[role])

    def start(self, name: str) -> None:
        """Start a server or a site the way its service does: the kit's own script, in the foreground."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self.within.get(name, ()), "bash", self.kit(name) / "startup" / "sub_start.sh", "--once"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(),
                start_new_session=True,
            )

    def log(self, name: str) -> str:
        """Return what a participant's process printed."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def wait_for_log(self, name: str, text: str, *, seconds: float = 90) -> None:
        """Wait until a participant prints ``text``.

        Raises:
            StartError: its process ended, or the time is over.
        """
        end = time.monotonic() + seconds
        while text not in self.log(name):
            if self.processes[name].poll() is not None or time.monotonic() > end:
                tail = " | ".join(self.log(name).strip().splitlines()[-3:])
                raise StartError(f"{name} did not come up: {tail}", f"read {self.folder / name}.log")
            time.sleep(0.2)

    def stop(self, name: str) -> None:
        """Stop one participant with everything its process started, and nothing else."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            # FLARE gives each job's process a session of its own, so a signal to the group would miss it.
            family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.terminate()
            _, alive = psutil.wait_procs(family, timeout=10)
            for member in alive:
                member.kill()
        process.wait()

    def family(self, name: str) -> list[psutil.Process]:
        """Return a participant's process, its job's process and everything below."""
        root = psutil.Process(self.processes[name].pid)
        return [root, *root.children(recursive=True)]

    def kill(self, name: str) -> None:
        """Let a participant's machine lose power: kill -9 for all of its processes, and forget what it printed."""
        for process in self.family(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.processes.pop(name).wait()
        (self.folder / f"{name}.log").unlink()

    def stop_all(self) -> None:
        """Stop sites first, then the server."""
        for name in reversed(list(self.processes)):
            self.stop(name)


def environment() -> dict[str, str]:
    """Return an environment in which the kits' ``python3`` is this one."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **few_threads(max(1, (os.cpu_count() or 1) // 3))}


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_federation(
    sites: Mapping[str, SiteContract], storage: Path, port: int, encryption_key: int | None = None
) -> Federation:
    """Describe a federation on this machine with one person for each role."""
    return Federation(
        project="rehearsal",
        encryption_key=encryption_key,
        server=Server(
            host=SERVER, port=port, organisation="office", contact="office@example.org", storage=storage.resolve()
        ),
        sites=[
            Site(
                name=name,
                organisation=name.replace("-", "_"),
                modality=contract.modality,
                contact=f"{name}@example.org",
            )
            for name, contract in sites.items()
        ],
        people=[
            Person(email=email, organisation="office" if role is not Role.ORG_ADMIN else "ct_a", role=role)
            for role, email in PEOPLE.items()
        ],
    )


def provision(
    sites: Mapping[str, SiteContract],
    folder: Path,
    *,
    port: int | None = None,
    routes: Mapping[str, int] | None = None,
    encryption_key: int | None = None,
) -> LocalFederation:
    """Issue and unpack kits, and give every site its ``local/site.yaml``.

    Args:
        sites: by name.
        folder: of the kits and of all that happens in them.
        port: of the server; by default a free one.
        routes: another port by site, such as a proxy's, under which that site finds the server.
        encryption_key: as in ``sites.yaml``.
    """
    unpacked = folder / "participants"
    federation = make_federation(sites, folder / "storage", port or free_port(), encryption_key)
    issue_kits(federation, POLICIES, folder / "kits")
    for archive in sorted((folder / "kits" / federation.project).glob("*.tar.gz")):
        unpack(archive, unpacked)
    for name, other in (routes or {}).items():
        # Issued again with the same certificates and the other port, of which only this site's kit is used.
        routed = make_federation(sites, folder / "storage", other)
        issue_kits(routed, POLICIES, folder / "kits")
        unpack(folder / "kits" / routed.project / f"{name}.tar.gz", unpacked)
    for name, contract in sites.items():
        text = yaml.safe_dump(contract.model_dump(mode="json"), sort_keys=False)
        (unpacked / name / "local" / "site.yaml").write_text(text, encoding="utf-8")
    return LocalFederation(unpacked)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a kit as its receiver does."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


def start_all(federation: LocalFederation, names: list[str]) -> None:
    """Start the server and the named sites, and wait until all are registered."""
    federation.start(SERVER)
    federation.wait_for_log(SERVER, "Server started")
    for name in names:
        federation.start(name)
    for name in names:
        federation.wait_for_log(name, "Successfully registered client")


@contextlib.contextmanager
def running(federation: LocalFederation, names: list[str]) -> Iterator[LocalFederation]:
    """Start the server and the named sites, wait until all are registered, and stop them at the end."""
    try:
        start_all(federation, names)
        yield federation
    finally:
        federation.stop_all()

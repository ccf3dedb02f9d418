"""A server or a site that is started a second time: real kits, real processes, TLS on loopback."""

import shutil
from collections.abc import Iterator

import pytest

from fedgin.data.site import load_site
from fedgin.deploy.start import REFUSED
from fedgin.flare.audit.security_log import Kind, read_log
from poc.federation import SERVER, LocalFederation, provision, running
from tests.sites import write_site

SITE = "ct-a"
PATIENCE = 300.0

pytestmark = pytest.mark.flare


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    """A running server and its one site."""
    root = tmp_path_factory.mktemp("double")
    sites = {SITE: load_site(write_site(root / "data", SITE))}
    with running(provision(sites, root / "federation"), [SITE]) as made:
        yield made


def start_copy(federation: LocalFederation, name: str) -> str:
    """Start a participant from a copy of its kit, as on another machine."""
    copy = f"copy-of-{name}"
    # Its lock stays behind: it is held by the process that runs the kit, and says nothing elsewhere.
    shutil.copytree(federation.kit(name), federation.kit(copy), ignore=shutil.ignore_patterns("*.jsonl", "*.head"))
    federation.start(copy)
    return copy


@pytest.mark.parametrize("name", [SERVER, SITE])
def test_a_kit_that_runs_is_not_started_again(federation: LocalFederation, name: str) -> None:
    process, log = federation.processes.pop(name), federation.log(name)
    federation.start(name)
    second = federation.processes[name]
    federation.processes[name] = process
    assert second.wait(PATIENCE) == REFUSED
    [line] = [line for line in federation.log(name).removeprefix(log).splitlines() if "fedgin: " in line]
    assert f"runs already: process {process.pid} on " in line
    assert process.poll() is None


def test_a_second_server_on_the_port_is_refused(federation: LocalFederation) -> None:
    copy = start_copy(federation, SERVER)
    assert federation.processes.pop(copy).wait(PATIENCE) == REFUSED
    holder = federation.processes[SERVER].pid
    assert f"is held by process {holder} (a FLARE server). Fix: stop that one first" in federation.log(copy)


def test_both_sites_of_one_kit_and_the_server_are_told(federation: LocalFederation) -> None:
    copy = start_copy(federation, SITE)
    for name in (SITE, copy):
        federation.wait_for_log(name, "another process runs with this kit", seconds=PATIENCE)
    federation.wait_for_log(SERVER, f"two processes run with the kit of {SITE}", seconds=PATIENCE)
    for name in (SITE, copy, SERVER):
        assert [event.kind for event in read_log(federation.kit(name)).events] == [Kind.KIT_RUNS_TWICE], name

"""One federation for all tests of faults, and the table of what they measured at the end of the run."""

from collections.abc import Callable, Iterator

import pytest

from fedgin.data.site import load_site
from fedgin.flare.job import load_job, stage_job
from fedgin.flare.simulation import simulate
from fedgin.train.checkpoint import load_checkpoint
from poc.federation import free_port, provision, running
from tests.integration.faults.proxy import Network
from tests.integration.faults.setting import ROUNDS, SITES, Fault, Setting
from tests.sites import tiny_experiment, write_site


@pytest.fixture(scope="package")
def setting(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Setting]:
    root = tmp_path_factory.mktemp("faults")
    sites = {name: load_site(write_site(root / "data" / name, name, kind)) for name, kind in SITES.items()}
    tiny = tiny_experiment(training={"local_steps": 100, "batch_size": 4})
    changes = tiny.model_dump(mode="json", include={"organs", "preprocessing", "network", "training"})
    original = load_job(pytestconfig.rootpath / "jobs" / "abdomen_fedgin")
    job = stage_job(original, root / "tiny", sites=len(sites), rounds=ROUNDS, changes=changes)
    undisturbed = load_checkpoint(simulate(job, sites, root / "simulated").last_model)["model"]
    port = free_port()
    network = Network(port)
    federation = provision(sites, root / "federation", port=port, routes={"mr-a": network.port})
    try:
        with running(federation, list(SITES)):
            yield Setting(federation, network, sites, job, undisturbed)
    finally:
        network.close()


@pytest.fixture
def fault(record_property: Callable[[str, object], None]) -> Fault:
    return Fault(record_property)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    rows = [value for report in reports for name, value in report.user_properties if name == "fault"]
    if rows:
        terminalreporter.section("faults: complete rounds lost, seconds to recover, the operator's line")
        for what, lost, seconds, line in rows:
            terminalreporter.write_line(f"| {what} | {lost} | {seconds:.0f} | `{line}` |")

"""What all tests share, and the table of what the tests of faults measured at the end of the run."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from fedgin.flare.jobs import installed
from fedgin.fork_server import fork_server
from fedgin.train import initial_model

# A busy machine fails no test. The parent is what hypothesis chose, which in CI is repeatable.
settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Let parallel workers share one process that imports for them, before they start."""
    if config.getoption("numprocesses", None):
        shared = contextlib.ExitStack()
        config.add_cleanup(shared.close)
        shared.enter_context(fork_server())


@pytest.fixture(scope="session", autouse=True)
def _processes_are_copies() -> Iterator[None]:
    """What trains starts as a copy of one process, as in a study: imports would take most of a federation's time."""
    with fork_server():
        yield


@pytest.fixture(autouse=True)
def _networks_are_built_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build a job's network in the test's own process, which has MONAI already; what FLARE starts is as it is."""
    monkeypatch.setattr(initial_model, "ask", initial_model.answer_to)
    monkeypatch.setattr(installed, "ask", installed.answer_to)


# Files whose tests share a federation: a worker gets all of a group, so that their federation is started once in it.
SHARED = {
    "faults/test_killed.py": "killed and network",
    "faults/test_network.py": "killed and network",
    "faults/test_operator.py": "operator and storage",
    "faults/test_storage.py": "operator and storage",
}


# What takes more than seven seconds a file without starting a federation; `make test-quick` leaves it out.
SLOW = (
    "benchmarks/test_gpu.py",
    "cli/test_full_disk.py",
    "cli/test_run.py",
    "deploy/node/test_node.py",
    "deploy/test_predict.py",
    "flare/audit/test_request_filter.py",
    "flare/client/test_site_process.py",
    "flare/jobs/test_job_validator.py",
    "flare/provisioning/test_distributed.py",
    "flare/provisioning/test_encryption_key.py",
    "flare/provisioning/test_kits.py",
    "flare/run/test_site_line.py",
    "flare/server/test_encryption.py",
    "fuzz/",
    "integration/test_real_sites.py",
    "phantoms/test_phantom_abdomen.py",
    "phantoms/test_phantom_heart.py",
    "study/test_random_effects.py",
    "study/test_shared_study.py",
    "study/test_statistics.py",
    "study/test_study.py",
    "test_commands.py",
    "test_fork_server.py",
    "test_startup.py",
    "train/site/test_resume.py",
)


class ByFederation(LoadScopeScheduling):
    """Gives whole files to a worker, and files that share a federation together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((group for name, group in SHARED.items() if file.endswith(name)), file)


# Of pytest-xdist; its own groups (loadgroup) need a way to rename tests that this pytest has no more.
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFederation:
    return ByFederation(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow files, and start the long tests first, so that no worker is left alone with one of them at the end.

    Those of real FLARE processes take minutes a file; inside each kind the order is that of the folders.
    """
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("flare") is None)


# Here, because with parallel workers the process that reports reads no other conftest.
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    rows = [value for report in reports for name, value in report.user_properties if name == "fault"]
    if rows:
        terminalreporter.section("faults: complete rounds lost, seconds to recover, the operator's line")
        for what, lost, seconds, line in rows:
            terminalreporter.write_line(f"| {what} | {lost} | {seconds:.0f} | `{line}` |")

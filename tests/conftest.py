"""What all tests share, and the table of what the tests of faults measured at the end of the run."""

import pytest
from hypothesis import HealthCheck, settings

# A busy machine fails no test. The parent is what hypothesis chose, which in CI is repeatable.
settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


# Files whose tests share a federation: each group of them is one worker's, so that it is started once in it.
SHARED = {
    "faults/test_killed.py": "killed and network",
    "faults/test_network.py": "killed and network",
    "faults/test_operator.py": "operator and storage",
    "faults/test_storage.py": "operator and storage",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give whole files to a worker, the long ones first, so that none is left alone with one of them at the end.

    Those of real FLARE processes take minutes a file; inside each kind the order is that of the folders.
    """
    items.sort(key=lambda item: item.get_closest_marker("flare") is None)
    for item in items:
        file = item.path.as_posix()
        group = next((group for name, group in SHARED.items() if file.endswith(name)), file)
        item.add_marker(pytest.mark.xdist_group(group))


# Here, because with parallel workers the process that reports reads no other conftest.
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    rows = [value for report in reports for name, value in report.user_properties if name == "fault"]
    if rows:
        terminalreporter.section("faults: complete rounds lost, seconds to recover, the operator's line")
        for what, lost, seconds, line in rows:
            terminalreporter.write_line(f"| {what} | {lost} | {seconds:.0f} | `{line}` |")

"""What docs/faults.md says of networks: a proxy stands between one site and the server."""

import time
from pathlib import Path

import pytest

from poc.federation import SERVER
from tests.integration.faults.setting import (
    Fault,
    Run,
    Setting,
    check_completed,
    start,
    suspend_at_work,
    wait_for_line,
    wait_for_round,
)

# FLARE's sites send one every 30 s.
HEARTBEAT = 30.0

pytestmark = pytest.mark.flare


@pytest.mark.parametrize("seconds", [3.0, HEARTBEAT + 8.0])
def test_a_site_that_is_cut_off_in_a_round_comes_back(
    setting: Setting, fault: Fault, tmp_path: Path, seconds: float
) -> None:
    lines = []

    def cut(run: Run) -> None:
        # Between tasks it asks for the next one, and repeats a question that is lost after FLARE's 300 s only.
        process = suspend_at_work(setting, "mr-a")
        before = len(setting.federation.log("mr-a"))
        setting.network.cut()
        fault.strikes()
        lines.append(wait_for_line(setting, "mr-a", "] is closed", after=before))
        process.resume()
        time.sleep(seconds)
        setting.network.mend()
        wait_for_round(setting)
        fault.is_over()

    run = start(setting, cut)
    check_completed(setting, run, tmp_path / "out")
    fault.overcome(f"network of a site cut for {seconds:.0f} s", lost=0, line=lines[0])


def test_a_network_that_stalls_costs_the_time_only(setting: Setting, fault: Fault, tmp_path: Path) -> None:
    lines = []

    def freeze(run: Run) -> None:
        process = suspend_at_work(setting, "mr-a")
        site, server = (len(setting.federation.log(name)) for name in ("mr-a", SERVER))
        setting.network.freeze()
        fault.strikes()
        process.resume()
        wait_for_line(setting, "mr-a", ": validation Dice", after=site)
        time.sleep(5.0)
        assert "site mr-a sent its update" not in setting.federation.log(SERVER)[server:]
        setting.network.mend()
        lines.append(wait_for_round(setting))
        fault.is_over()

    run = start(setting, freeze)
    check_completed(setting, run, tmp_path / "out")
    fault.overcome("network of a site stalls for 5 s", lost=0, line=lines[0])

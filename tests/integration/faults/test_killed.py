"""What docs/faults.md says of killed processes: a provisioned federation of real processes, TLS on loopback."""

from pathlib import Path

import pytest

from fedgin.flare.run.console import connect
from poc.federation import SERVER
from tests.integration.faults.setting import (
    ROUNDS,
    Fault,
    Run,
    Setting,
    check_completed,
    job_process,
    leave,
    resume,
    start,
    trainer,
    wait_for_line,
    wait_for_round,
    wait_for_sites,
)

pytestmark = pytest.mark.flare


def test_a_killed_training_process_costs_one_repetition(setting: Setting, fault: Fault, tmp_path: Path) -> None:
    def kill(run: Run) -> None:
        trainer(setting.federation, "ct-a").kill()
        fault.strikes()
        wait_for_round(setting)
        fault.is_over()

    before = len(setting.federation.log("ct-a"))
    run = start(setting, kill)
    line = wait_for_line(setting, "ct-a", "the training process was ended by SIGKILL", after=before)
    check_completed(setting, run, tmp_path / "out")
    fault.overcome("kill -9 of a site's training process", lost=0, line=line)


def test_a_job_whose_site_was_killed_is_resumed(setting: Setting, fault: Fault, tmp_path: Path) -> None:
    def kill(run: Run) -> None:
        job_process(setting.federation, "mr-a").kill()
        fault.strikes()

    run = start(setting, kill)
    assert run.meta["status"] == "FINISHED:EXECUTION_EXCEPTION"
    lost = resume(setting, run, tmp_path / "out")
    fault.overcome("kill -9 of FLARE's process of a site's job", lost=lost, line=run.told[-1])


def test_a_job_whose_site_was_killed_in_the_final_evaluation_is_resumed(
    setting: Setting, fault: Fault, tmp_path: Path
) -> None:
    def kill(run: Run) -> None:
        wait_for_line(setting, "mr-a", "got task assignment: name=validate", after=before)
        run.complete = ROUNDS
        job_process(setting.federation, "mr-a").kill()
        fault.strikes()

    before = len(setting.federation.log("mr-a"))
    run = start(setting, kill)
    assert run.meta["status"] == "FINISHED:EXECUTION_EXCEPTION"
    # The last round is repeated, and makes the same model.
    assert resume(setting, run, tmp_path / "out") == 1
    fault.overcome("kill -9 of FLARE's process of a site's job in the final evaluation", lost=0, line=run.told[-1])


def test_a_job_whose_server_was_killed_is_resumed(setting: Setting, fault: Fault, tmp_path: Path) -> None:
    run = start(setting, leave)
    setting.federation.kill(SERVER)
    fault.strikes()
    setting.federation.start(SERVER)
    setting.federation.wait_for_log(SERVER, "Server started")
    with connect(setting.kit) as session:
        assert session.get_job_meta(run.job_id)["status"] == "FINISHED:ABNORMAL"
        wait_for_sites(session)
    line = wait_for_line(setting, SERVER, "ended with the server's crash")
    lost = resume(setting, run, tmp_path / "out")
    fault.overcome("kill -9 of the server", lost=lost, line=line)


def test_a_site_that_lost_power_while_it_sent_its_update(setting: Setting, fault: Fault, tmp_path: Path) -> None:
    """It is back before the server misses it, as a machine is that was started again."""

    def lose_power(run: Run) -> None:
        before = len(setting.federation.log("mr-a"))
        wait_for_line(setting, "mr-a", "invoking task executor", after=before)
        setting.network.freeze()
        before = setting.federation.log("mr-a").rindex("invoking task executor")
        wait_for_line(setting, "mr-a", ": validation Dice", after=before)
        wait_for_line(setting, "mr-a", "finished processing task", after=before)
        setting.federation.kill("mr-a")
        setting.network.cut()
        fault.strikes()
        setting.network.mend()
        setting.federation.start("mr-a")

    run = start(setting, lose_power)
    assert run.meta["status"] == "FINISHED:EXECUTION_EXCEPTION"
    line = wait_for_line(setting, SERVER, f"site mr-a was started again and has no part in job {run.job_id}")
    lost = resume(setting, run, tmp_path / "out")
    fault.overcome("power loss of a site while it sends its update", lost=lost, line=line)

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedgin.errors import ConfigError
from fedgin.flare.jobs.encrypted_job import check_encryption
from tests.places import JOBS

CONFIG = JOBS / "abdomen_fedgin_encrypted" / "app" / "config"
PLAIN = CONFIG.parents[2] / "abdomen_fedgin" / "app" / "config"
Change = Callable[[dict[str, Any]], object]


def configs(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    client, server = (json.loads((folder / f"config_fed_{side}.json").read_text()) for side in ("client", "server"))
    return client, server


def test_our_jobs_keep_their_word() -> None:
    check_encryption(*configs(CONFIG), encrypted=True)
    check_encryption(*configs(PLAIN), encrypted=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda client: client.update(task_result_filters=[]),
        lambda client: client.pop("task_result_filters"),
        lambda client: client.update(task_result_filters={"tasks": ["train"]}),
        lambda client: client["task_result_filters"][0].update(tasks=["validate"]),
        lambda client: client["task_result_filters"][0]["filters"].clear(),
        lambda client: client["task_result_filters"][0]["filters"][0].update(path="nvflare.x.Y"),
        lambda client: client["task_result_filters"][0]["filters"][0]["args"].update(encrypt_layers=["model.0"]),
        lambda client: client["task_result_filters"][0]["filters"][0]["args"].update(weigh_by_local_iter=False),
        lambda client: client["task_result_filters"][0]["filters"][0].update(name="other"),
        lambda client: client["task_result_filters"][0].update(site="ct-a"),
        lambda client: client["executors"][0]["tasks"].append("submit_model"),
        lambda client: client["executors"].append({"tasks": ["submit_model"], "executor": {}}),
        lambda client: client["task_data_filters"].clear(),
    ],
)
def test_a_job_that_would_send_readable_updates_is_refused(change: Change) -> None:
    client, server = configs(CONFIG)
    change(client)
    with pytest.raises(ConfigError, match="does not encrypt all"):
        check_encryption(client, server, encrypted=True)


def test_the_server_must_have_its_parts() -> None:
    client, _ = configs(CONFIG)
    _, plain = configs(PLAIN)
    with pytest.raises(
        ConfigError, match=r"config_fed_server\.json lacks fedgin\.flare\.server\.encryption\.CiphertextFilter"
    ):
        check_encryption(client, plain, encrypted=True)


@pytest.mark.parametrize("side", [0, 1])
def test_an_experiment_without_encryption_goes_with_no_part_of_it(side: int) -> None:
    mixed = list(configs(PLAIN))
    mixed[side] = configs(CONFIG)[side]
    with pytest.raises(ConfigError, match="asks for no homomorphic_encryption"):
        check_encryption(*mixed, encrypted=False)

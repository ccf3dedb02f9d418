"""Stand-ins for processes of a site take their place and answer as they would."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import yaml

from benchmarks import _stand_in, _unchecked
from benchmarks._instead import CHECK, TRAINER, instead
from fedgin.train.site.messages import Message, read_message, write_message
from fedgin.train.site.update import LocalUpdate
from tests.sites import tiny_experiment


def test_it_runs_where_a_site_starts_its_training_process(tmp_path: Path) -> None:
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(yaml.safe_dump(tiny_experiment(federation={"transfer": "float16"}).model_dump(mode="json")))
    command = [sys.executable, "-m", TRAINER, str(experiment), "", "", ""]
    weights = {"first": np.ones((3, 2), np.float32), "second": np.zeros(4, np.float32)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | instead({TRAINER: _stand_in})
    ) as process:
        tasks, answers = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        write_message(tasks, Message("train", {"number": 0, "rounds": 1}, weights))
        answer = read_message(answers)
        tasks.close()
    assert answer is not None
    assert {name: (value.shape, str(value.dtype)) for name, value in answer.arrays.items()} == {
        name: (value.shape, "float16") for name, value in weights.items()
    }
    update = LocalUpdate(difference=dict(answer.arrays), **answer.values)
    assert update.weight == update.trained["of_slices"]
    assert all((value != 0).all() for value in update.difference.values())


def test_a_job_is_passed_where_its_check_is_left_out() -> None:
    command = [sys.executable, "-P", "-m", CHECK]
    environment = os.environ | instead({CHECK: _unchecked})
    done = subprocess.run(command, input="{}", capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout) == {"parameters": 1}

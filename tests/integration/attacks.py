"""Jobs that attack, and their way past everything that 'fedgin run' checks before it submits."""

import json
import pickle
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedgin.flare.run.console import Session
from fedgin.folders import MARK


def submit_as_it_is(session: Session, folder: Path) -> str:
    """Submit a job folder as FLARE's own console does; FLARE signs what it submits, so a copy of it."""
    with tempfile.TemporaryDirectory() as staging:
        copy = shutil.copytree(folder, Path(staging) / folder.name, ignore=shutil.ignore_patterns(MARK))
        return str(session.submit_job(str(copy)))


def edit(job: Path, name: str, change: Callable[[Any], object]) -> None:
    """Change a file of JSON in a job's ``app/config``."""
    path = job / "app" / "config" / name
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


Attack = Callable[[Path, Path, str], None]


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.call, (["touch", str(self.marker)],)


def read_a_pickle(job: Path, marker: Path, storage: str) -> None:
    """Let the server start from the stored job itself, which files beside ``app`` make a checkpoint of PyTorch's."""
    (job / "data.pkl").write_bytes(pickle.dumps(Payload(marker), protocol=2))
    (job / "version").write_text("3\n")
    source = {"source_ckpt_file_full_name": f"{storage}/{{JOB_ID}}/data", "load_weights_only": False}
    edit(job, "config_fed_server.json", lambda values: values["components"][0]["args"].update(source))


def name_a_pickle(job: Path, marker: Path, storage: str) -> None:
    """As :func:`read_a_pickle`, with nothing beside ``app``: only the argument is wrong."""
    source = {"source_ckpt_file_full_name": f"{storage}/{{JOB_ID}}/data", "load_weights_only": False}
    edit(job, "config_fed_server.json", lambda values: values["components"][0]["args"].update(source))


def overwrite_a_file(job: Path, marker: Path, storage: str) -> None:
    """Let the server write its model where it likes."""
    target = {"global_model_file_name": str(marker)}
    edit(job, "config_fed_server.json", lambda values: values["components"][0]["args"].update(target))


def start_a_container(job: Path, marker: Path, storage: str) -> None:
    """Ask each site for another way to launch the job."""
    path = job / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"launcher_spec": {"@ALL": {"process": {}}}}))


# What is refused of each.
ATTACKS: dict[Attack, str] = {
    read_a_pickle: "the job carries 'tiny/data.pkl'",
    name_a_pickle: "'components.0.args.source_ckpt_file_full_name' does not belong there",
    overwrite_a_file: "'components.0.args.global_model_file_name' does not belong there",
    start_a_container: "meta.json: 'launcher_spec' does not belong there",
}

"""The files of a job: no other one, no link and no other folder is in it."""

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from nvflare.lighter.tool_consts import NVFLARE_SIG_FILE, NVFLARE_SUBMITTER_CRT_FILE

from fedgin.errors import ConfigError
from fedgin.flare.jobs.checkpoint import CHECKPOINT
from fedgin.train.experiment import EVALUATED_MODEL

META, SERVER_CONFIG, CLIENT_CONFIG = "meta.json", "config_fed_server.json", "config_fed_client.json"
EXPERIMENT = "experiment.yaml"
# The one application of a job, by the name of its folder.
APP = "app"
CONFIG = f"{APP}/config"
FOLDERS = (APP, CONFIG)
# Weights that some jobs carry; all other files of a job are small.
WEIGHTS = (CHECKPOINT, EVALUATED_MODEL)
FILES = (META, *(f"{CONFIG}/{name}" for name in (SERVER_CONFIG, CLIENT_CONFIG, EXPERIMENT, *WEIGHTS)))
# FLARE adds these to each folder when it signs a job.
SIGNATURE_FILES = (NVFLARE_SIG_FILE, NVFLARE_SUBMITTER_CRT_FILE)
LONGEST_NAME = 120


def check_files(root: Path, *, below: str = "", but: Collection[str] = ()) -> None:
    """Check that a folder has the files of a job and nothing else, no link and no empty folder either.

    Args:
        root: the job, or a folder of it.
        below: where ``root`` is in the job.
        but: names in ``root`` that are no business of the job's.

    Raises:
        ConfigError: it holds anything else; names the first.
    """
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        kind = "folder" if path.is_dir() else "file" if path.is_file() else ""
        if name not in but and (path.is_symlink() or not is_part(f"{below}/{name}".lstrip("/"), kind)):
            raise stray(name)


def is_part(name: str, kind: str) -> bool:
    """Tell whether a job may hold this.

    Args:
        name: relative to the job's folder.
        kind: ``folder`` or ``file``.
    """
    if kind == "folder":
        return name in FOLDERS
    place = PurePosixPath(name)
    signature = place.name in SIGNATURE_FILES and place.parent.as_posix() in (".", *FOLDERS)
    return kind == "file" and (name in FILES or signature)


def stray(name: str) -> ConfigError:
    """Describe something that does not belong to a job."""
    return ConfigError(
        f"the job carries '{name[:LONGEST_NAME]}'",
        f"a job has {', '.join(FILES)} only; code is installed at the sites",
    )

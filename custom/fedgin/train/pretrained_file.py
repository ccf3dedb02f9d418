"""The file of weights that a run starts from, found and compared; it is opened in :mod:`fedgin.train.pretrained`."""

from pathlib import Path

from fedgin.errors import ConfigError, WeightsError
from fedgin.files import hash_file
from fedgin.nets.settings import Pretrained

# In a kit, and in a folder of the simulator: where its participant keeps weights that jobs may start from.
MODELS = Path("local") / "models"


def find_file(pretrained: Pretrained, models: Path | None) -> Path:
    """Return the path of the file that a job names, which is the same file everywhere.

    Args:
        pretrained: of the job.
        models: the folder with the file; ``None`` where nobody gave one.

    Raises:
        ConfigError: there is no folder.
        WeightsError: the file is not in it, cannot be read, or is another one.
    """
    if models is None:
        raise ConfigError(
            f"the job starts from '{pretrained.file}', and no folder of models is given",
            "give its folder with --models",
        )
    path = models / pretrained.file
    place = f"{'/'.join(models.parts[-2:])}/{pretrained.file}"
    fix = f"get the file whose SHA-256 is {pretrained.sha256}, from where the project lead says"
    try:
        found = hash_file(path) if path.is_file() else ""
    except OSError:
        raise WeightsError(f"{place} cannot be read", "check its permissions") from None
    if not found:
        raise WeightsError(f"{place}: the weights that the job starts from are not there", fix)
    if found != pretrained.sha256:
        raise WeightsError(f"{place} is not the file that the job starts from: its SHA-256 is {found}", fix)
    return path

"""The global model after each complete round, with the number of the round, as one file that holds no code."""

from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.model import ModelLearnableKey
from nvflare.app_common.app_constant import AppConstants

from fedgin.errors import WeightsError
from fedgin.files import whole_file

# In the server's run folder of a job, below SESSION; and in a resumed job, beside experiment.yaml.
CHECKPOINT = "checkpoint.safetensors"
ROUND = "round"


def keep_checkpoint(fl_ctx: FLContext, path: Path) -> None:
    """Write model and round of a round that is done; whenever the server is killed, the two in the file fit together.

    FLARE's own ``FL_global_model.pt`` does not tell its round: after a crash it may be one later than the last record.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the file of the round before is as it was.
    """
    weights: dict[str, Any] = fl_ctx.get_prop(AppConstants.GLOBAL_MODEL)[ModelLearnableKey.WEIGHTS]
    arrays = {name: np.asarray(value, order="C") for name, value in weights.items()}
    number = int(fl_ctx.get_prop(AppConstants.CURRENT_ROUND))
    with whole_file(path) as part:
        # Not save_file(): it hides a full disk behind an error of its own.
        part.write_bytes(safetensors.numpy.save(arrays, metadata={ROUND: str(number)}))


def read_round(path: Path) -> int:
    """Return the round after which a checkpoint was written.

    Raises:
        WeightsError: the file is missing, cut off or something else.
    """
    if not path.is_file():
        raise WeightsError(
            f"{path.name} does not exist: the job has no round to go on after", "submit the job anew with 'fedgin run'"
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return int(file.metadata()[ROUND])
    except Exception:  # a damaged file raises many kinds
        raise WeightsError(
            f"{path.name} is damaged, or is no checkpoint of a round",
            "restore the job store of the server from its backup, or submit the job anew with 'fedgin run'",
        ) from None

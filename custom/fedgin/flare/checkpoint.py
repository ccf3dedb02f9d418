"""The global model after each complete round, with what a resumed job must know, as one file that holds no code."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.model import ModelLearnableKey
from nvflare.app_common.app_constant import AppConstants
from pydantic import TypeAdapter

from fedgin.errors import WeightsError
from fedgin.files import whole_file
from fedgin.flare.participation import Claim

Value = TypeVar("Value")
# In the server's run folder of a job, below SESSION; and in a resumed job, beside experiment.yaml.
CHECKPOINT = "checkpoint.safetensors"
ROUND = "round"
# What sites have bound themselves to, by name: a property of the FLContext, and beside the round in the file.
CLAIMS = "fedgin_claims"
# Names of the entries that are ciphertexts, which nobody but a site can read; in the file they are bytes.
CIPHERTEXTS = "fedgin_ciphertexts"
_CLAIMS = TypeAdapter(dict[str, Claim])
_NAMES = TypeAdapter(list[str])


def keep_checkpoint(fl_ctx: FLContext, path: Path) -> None:
    """Write model, round and claims of a round that is done; whenever the server is killed, they fit together.

    FLARE's own ``FL_global_model.pt`` does not tell its round: after a crash it may be one later than the last record.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the file of the round before is as it was.
        WeightsError: the model holds NaN or infinity; the file of the round before is as it was.
    """
    weights: dict[str, Any] = fl_ctx.get_prop(AppConstants.GLOBAL_MODEL)[ModelLearnableKey.WEIGHTS]
    ciphertexts = sorted(name for name, value in weights.items() if not isinstance(value, np.ndarray))
    arrays = {name: _to_array(value) for name, value in weights.items()}
    number = int(fl_ctx.get_prop(AppConstants.CURRENT_ROUND))
    _check_finite(arrays, number)
    facts = {
        ROUND: str(number),
        CLAIMS: _CLAIMS.dump_json(fl_ctx.get_prop(CLAIMS, {})).decode(),
        CIPHERTEXTS: _NAMES.dump_json(ciphertexts).decode(),
    }
    with whole_file(path) as part:
        # Not save_file(): it hides a full disk behind an error of its own.
        part.write_bytes(safetensors.numpy.save(arrays, metadata=facts))


def _to_array(value: Any) -> np.ndarray[Any, Any]:
    """Return an entry as safetensors takes it; a ciphertext, TenSEAL's vector, as its bytes."""
    if isinstance(value, np.ndarray):
        return np.asarray(value, order="C")
    return np.frombuffer(value.serialize(), np.uint8)


def _check_finite(arrays: Mapping[str, np.ndarray[Any, Any]], number: int) -> None:
    for name, value in arrays.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise WeightsError(
                f"after round {number} entry '{name}' of the global model holds NaN or infinity",
                "lower training.learning_rate, then 'fedgin resume'",
            )


def read_round(path: Path) -> int:
    """Return the round after which a checkpoint was written.

    Raises:
        WeightsError: the file is missing, cut off or something else.
    """
    return _read(path, lambda file: int(file.metadata()[ROUND]))


def read_claims(path: Path) -> dict[str, Claim]:
    """Return by site what the updates up to a checkpoint bound it to.

    Raises:
        WeightsError: the file is missing, cut off or something else.
    """
    return _read(path, lambda file: _CLAIMS.validate_json(file.metadata()[CLAIMS]))


def read_ciphertexts(path: Path) -> dict[str, bytes]:
    """Return the encrypted entries of a checkpoint by name, as TenSEAL reads them.

    Raises:
        WeightsError: the file is missing, cut off or something else.
    """

    def read(file: Any) -> dict[str, bytes]:
        names = _NAMES.validate_json(file.metadata()[CIPHERTEXTS])
        return {name: file.get_tensor(name).tobytes() for name in names}

    return _read(path, read)


def _read(path: Path, parse: Callable[[Any], Value]) -> Value:
    if not path.is_file():
        raise WeightsError(
            f"{path.name} does not exist: the job has no round to go on after", "submit the job anew with 'fedgin run'"
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return parse(file)
    except Exception:  # a damaged file raises many kinds
        raise WeightsError(
            f"{path.name} is damaged, or is no checkpoint of a round",
            "restore the job store of the server from its backup, or submit the job anew with 'fedgin run'",
        ) from None

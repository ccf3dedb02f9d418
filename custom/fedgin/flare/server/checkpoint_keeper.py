"""Keep after each complete round what a resumed job needs: the global model and what sites bound themselves to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.model import ModelLearnableKey
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from fedgin.errors import WeightsError, with_fix
from fedgin.files import whole_file
from fedgin.flare.jobs.checkpoint import CHECKPOINT, CIPHERTEXTS, CLAIMS, CLAIMS_TYPE, NAMES_TYPE, ROUND
from fedgin.flare.protocol import SESSION
from fedgin.flare.server.update_store import to_array


class CheckpointKeeper(FLComponent):
    """Writes ``fedgin/checkpoint.safetensors`` in the server's run folder after each round but the last one.

    A checkpoint that cannot be written ends the job: sites keep the optimiser of two rounds, so a job that went on
    could not be resumed from an older one.
    """

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Keep the checkpoint of a round that is done."""
        # FLARE's evaluation needs a model that a round of the same job has written. A job that ends in it is therefore
        # resumed with one round, the last, which gives the same model again.
        if event_type == AppEventType.ROUND_DONE and not _is_last_round(fl_ctx):
            self._keep(fl_ctx)

    def _keep(self, fl_ctx: FLContext) -> None:
        run = Path(fl_ctx.get_engine().get_workspace().get_run_dir(fl_ctx.get_job_id()))
        try:
            keep_checkpoint(fl_ctx, run / SESSION / CHECKPOINT)
        except OSError as error:
            problem = f"the round's checkpoint was not written: {error.strerror}"
            self.system_panic(with_fix(problem, "free disk space, 'fedgin resume'"), fl_ctx)
        except WeightsError as error:
            self.system_panic(f"the round's checkpoint was not written: {error}", fl_ctx)


def _is_last_round(fl_ctx: FLContext) -> bool:
    first, rounds = (int(fl_ctx.get_prop(key, 0)) for key in (AppConstants.START_ROUND, AppConstants.NUM_ROUNDS))
    return int(fl_ctx.get_prop(AppConstants.CURRENT_ROUND)) + 1 == first + rounds


def keep_checkpoint(fl_ctx: FLContext, path: Path) -> None:
    """Write model, round and claims of a round that is done; whenever the server is killed, they fit together.

    FLARE's own ``FL_global_model.pt`` does not tell its round: after a crash it may be one later than the last record.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the file of the round before is as it was.
        WeightsError: the model holds NaN or infinity; the file of the round before is as it was.
    """
    weights: dict[str, Any] = fl_ctx.get_prop(AppConstants.GLOBAL_MODEL)[ModelLearnableKey.WEIGHTS]
    ciphertexts = sorted(name for name, value in weights.items() if not isinstance(value, np.ndarray))
    arrays = {name: to_array(value) for name, value in weights.items()}
    round_number = int(fl_ctx.get_prop(AppConstants.CURRENT_ROUND))
    _check_finite(arrays, round_number)
    facts = {
        ROUND: str(round_number),
        CLAIMS: CLAIMS_TYPE.dump_json(fl_ctx.get_prop(CLAIMS, {})).decode(),
        CIPHERTEXTS: NAMES_TYPE.dump_json(ciphertexts).decode(),
    }
    with whole_file(path) as part:
        # Not save_file(): it hides a full disk behind an error of its own.
        part.write_bytes(safetensors.numpy.save(arrays, metadata=facts))


def _check_finite(arrays: Mapping[str, np.ndarray[Any, Any]], round_number: int) -> None:
    for name, value in arrays.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise WeightsError(
                f"after round {round_number + 1} entry '{name}' of the global model holds NaN or infinity",
                "lower training.learning_rate, then 'fedgin resume'",
            )

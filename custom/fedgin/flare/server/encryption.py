"""Updates that the server adds up without reading them: CKKS homomorphic encryption by FLARE's and TenSEAL's parts.

A site's ``HEModelEncryptor`` multiplies the update by the site's weight and encrypts it; the server adds ciphertexts
and divides by the sum of weights; ``HEModelDecryptor`` gives the sites the mean. All sites share one secret key, which
the server does not have. With the keys that we issue a ciphertext can be multiplied once: the division uses that up.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import tenseal
from numpy.typing import NDArray
from nvflare.apis.dxo import DXO, MetaKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from nvflare.app_common.abstract.model import Learnable, ModelLearnableKey
from nvflare.app_opt.he.constant import HE_ALGORITHM_CKKS
from nvflare.app_opt.he.homomorphic_encrypt import load_tenseal_context_from_workspace
from nvflare.app_opt.he.intime_accumulate_model_aggregator import HEInTimeAccumulateWeightedAggregator
from nvflare.app_opt.he.model_serialize_filter import HEModelSerializeFilter

from fedgin.errors import ConfigError, WeightsError
from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_ciphertexts
from fedgin.flare.jobs.encryption_key import NO_KEY, SERVER_KEY
from fedgin.flare.participation import Claim
from fedgin.flare.server.average import WeightedAverage, to_dxo
from fedgin.flare.server.guard import SAME_PACKAGE, Shapes, Update, UpdateGuard, UpdateRefusedError, check_names
from fedgin.train.experiment import Experiment


def server_key(fl_ctx: FLContext) -> tenseal.Context:
    """Return the kit's parameters of the encryption, with which sums can be made and nothing can be read.

    Raises:
        ConfigError: the kit has none, or its signature does not cover them.
    """
    try:
        return load_tenseal_context_from_workspace(SERVER_KEY, fl_ctx)
    except Exception:  # TenSEAL raises several kinds for a damaged file
        raise ConfigError(f"the server's kit has no {SERVER_KEY} that can be used", NO_KEY) from None


class EncryptedUpdateGuard(UpdateGuard):
    """Checks what can be seen of an encrypted update: claims, names of entries and how many values each has.

    NaN, an absurd size or another key cannot be seen. Every entry must be there: a mean of what some sites withhold
    would need a second multiplication.

    Args:
        experiment: the experiment of the job.
        claims: the claims by site, of the job that this one resumes.
        key: the server's.
    """

    def __init__(self, experiment: Experiment, claims: Mapping[str, Claim], key: tenseal.Context) -> None:
        super().__init__(experiment, claims)
        self.key = key

    def _read_differences(self, dxo: DXO, expected: Shapes) -> tuple[Mapping[str, Any], float | None]:
        if dxo.get_meta_prop(MetaKey.PROCESSED_ALGORITHM) != HE_ALGORITHM_CKKS:
            raise UpdateRefusedError("it is not encrypted, and the job says that it must be", SAME_PACKAGE)
        data = check_names(dxo.data, expected)
        return {name: self._adopt(name, data[name], expected[name]) for name in expected}, None

    def unpack(self, array: NDArray[Any]) -> Any:
        """Return the ciphertext of the bytes that were kept of it."""
        return tenseal.ckks_vector_from(self.key, array.tobytes())

    def _adopt(self, name: str, value: object, shape: tuple[int, ...]) -> tenseal.CKKSVector:
        """Return a ciphertext under the server's own parameters, whatever parameters came with it."""
        if not isinstance(value, tenseal.CKKSVector):
            raise UpdateRefusedError(f"entry '{name}' is no ciphertext", SAME_PACKAGE)
        if value.context().has_secret_key():
            raise UpdateRefusedError(f"entry '{name}' came with the secret key; it is not used", "provision a new key")
        try:
            adopted = tenseal.ckks_vector_from(self.key, value.serialize())
        except Exception:  # TenSEAL raises several kinds
            raise UpdateRefusedError(f"entry '{name}' is encrypted with other parameters", NO_KEY) from None
        count = math.prod(shape)
        if adopted.size() != count:
            raise UpdateRefusedError(f"entry '{name}' has {adopted.size()} values, expected {count}", SAME_PACKAGE)
        return adopted


class EncryptedAverage(WeightedAverage):
    """The same mean over ciphertexts that their sites have multiplied by their weights.

    Each group's sum of weights is made so many times larger as there are groups. Its quotient then is the group's part
    of the mean of means, and parts are added without a second multiplication.

    Args:
        balanced: as for the plain mean.
        entries: the entries of the global model, by name, the counters that no site sends among them.
    """

    aggregator = HEInTimeAccumulateWeightedAggregator

    def __init__(self, *, balanced: bool, entries: Collection[str]) -> None:
        super().__init__(balanced=balanced)
        self._entries = entries

    def _pack(self, update: Update, groups: int) -> DXO:
        meta = {
            MetaKey.NUM_STEPS_CURRENT_ROUND: update.contribution.weight * groups,
            MetaKey.PROCESSED_ALGORITHM: HE_ALGORITHM_CKKS,
        }
        return to_dxo(update.data, meta)

    def _combine(self, means: Sequence[Mapping[str, Any]]) -> DXO:
        data = {name: reduce(add, (mean[name] for mean in means)) for name in sorted(means[0])}
        return to_dxo(data, mark(self._entries, data))


def mark(entries: Collection[str], encrypted: Collection[str]) -> dict[str, object]:
    """Return what tells FLARE's filter at a site which entries of a model to decrypt; it looks up every one."""
    keys = {name: name in encrypted for name in entries}
    return {MetaKey.PROCESSED_ALGORITHM: HE_ALGORITHM_CKKS, MetaKey.PROCESSED_KEYS: keys}


class CiphertextFilter(HEModelSerializeFilter):
    """FLARE's filter of the server's models, for a job that is resumed, and for one that is evaluated.

    A resumed job starts from the ciphertexts of its checkpoint, which no network can hold. A model that is read for the
    evaluation stays as it is stored: as ciphertext objects it could not be copied into the sites' tasks, because FLARE
    2.9 calls the method in which its ``HECrossSiteModelEval`` would mend that by another name.
    """

    def process_post_load(self, learnable: Learnable, fl_ctx: FLContext) -> Learnable:
        """Put the ciphertexts of the round that the job resumes after, if it does, over the initial weights.

        Raises:
            WeightsError: the checkpoint is damaged, or of another network.
        """
        workspace: Workspace = fl_ctx.get_engine().get_workspace()
        checkpoint = Path(workspace.get_app_config_dir(fl_ctx.get_job_id())) / CHECKPOINT
        if checkpoint.is_file():
            weights, kept = learnable[ModelLearnableKey.WEIGHTS], read_ciphertexts(checkpoint)
            if kept.keys() != {name for name, value in weights.items() if value.dtype.kind == "f"}:
                raise WeightsError(f"{CHECKPOINT} is of another network, or not encrypted", "use 'fedgin resume'")
            weights.update(kept)
            learnable[ModelLearnableKey.META] = mark(weights, kept)
        return super().process_post_load(learnable, fl_ctx)

    def process_post_get(self, learnable: Learnable, fl_ctx: FLContext) -> Learnable:
        """Return the model as bytes, which a site's filter decrypts."""
        return learnable

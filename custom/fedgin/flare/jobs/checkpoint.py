"""The checkpoint of a round, read: the global model and what a resumed job must know, in one file that holds no code.

:mod:`fedgin.flare.server.checkpoint_keeper` writes it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import safetensors
from pydantic import TypeAdapter

from fedgin.data.site import Modality
from fedgin.errors import WeightsError
from fedgin.flare.participation import Claim

Value = TypeVar("Value")
# In the server's run folder of a job, below SESSION; and in a resumed job, beside experiment.yaml.
CHECKPOINT = "checkpoint.safetensors"
ROUND = "round"
# What sites have bound themselves to, by name: a property of the FLContext, and beside the round in the file.
CLAIMS = "fedgin_claims"
# Names of the entries that are ciphertexts, which nobody but a site can read; in the file they are bytes.
CIPHERTEXTS = "fedgin_ciphertexts"
CLAIMS_TYPE = TypeAdapter(dict[str, Claim])
NAMES_TYPE = TypeAdapter(list[str])


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
    return _read(path, lambda file: CLAIMS_TYPE.validate_json(file.metadata()[CLAIMS]))


def read_modalities(path: Path) -> dict[str, Modality]:
    """Return the modality of each site whose updates are in the model of a checkpoint.

    Raises:
        WeightsError: the file is missing, cut off or something else.
    """
    try:
        return {site: Modality(claim.modality) for site, claim in read_claims(path).items()}
    except ValueError:
        raise WeightsError(f"{path.name} names an unknown modality", "fetch the result of the job again") from None


def read_ciphertexts(path: Path) -> dict[str, bytes]:
    """Return the encrypted entries of a checkpoint by name, as TenSEAL reads them.

    Raises:
        WeightsError: the file is missing, cut off or something else.
    """

    def read(file: Any) -> dict[str, bytes]:
        names = NAMES_TYPE.validate_json(file.metadata()[CIPHERTEXTS])
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

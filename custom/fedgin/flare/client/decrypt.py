"""Read a global model of an encrypted job with a site's key."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fedgin.errors import ConfigError, WeightsError
from fedgin.flare.jobs.encryption_key import NO_KEY, SITE_KEY
from fedgin.flare.jobs.encryption_library import check_encryption_installed
from fedgin.train.checkpoint import averaged_weights, load_checkpoint, load_weights
from fedgin.train.experiment import Experiment
from fedgin.train.site.decrypted import restore_weights

if TYPE_CHECKING:
    import tenseal


def decrypt_model(model: Path, experiment: Experiment, kit: Path) -> dict[str, Tensor]:
    """Read a global model of an encrypted job with a site's key.

    Args:
        model: ``FL_global_model.pt`` or ``best_FL_global_model.pt`` of the job's result.
        experiment: the experiment of the job.
        kit: the kit of a site.

    Returns:
        Weights of the network by state-dict name.

    Raises:
        ConfigError: TenSEAL is not installed, or the kit has no usable key.
        WeightsError: the file is damaged, of another network or encrypted with another key.
    """
    check_encryption_installed()
    key = _site_key(kit / "startup" / SITE_KEY)
    values = load_checkpoint(model, "model")["model"]
    try:
        plain = {name: _decrypt(value, key) for name, value in values.items()}
    except Exception:  # TenSEAL raises several kinds
        raise WeightsError(
            f"{model.name} was encrypted with another key", "use the kit that the job ran with"
        ) from None
    network = experiment.initial_network()
    load_weights(network, restore_weights(network, plain, source=model.name), source=model.name)
    return averaged_weights(network)


def _site_key(path: Path) -> "tenseal.Context":
    import tenseal

    try:
        key = tenseal.context_from(path.read_bytes())
    except Exception:  # TenSEAL raises several kinds for a damaged file
        raise ConfigError(f"the kit has no {path.name} that can be used", NO_KEY) from None
    if not key.has_secret_key():
        raise ConfigError(f"{path.name} has no secret key", "use the kit of a site")
    return key


def _decrypt(value: bytes | Tensor, key: "tenseal.Context") -> Tensor:
    """Decrypt an entry; counters, and what no site has sent yet, are not encrypted."""
    import tenseal

    return value if isinstance(value, Tensor) else torch.tensor(tenseal.ckks_vector_from(key, value).decrypt())

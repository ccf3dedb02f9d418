"""What a job's FLARE configuration must say where ``experiment.yaml`` says that updates are encrypted, and only there.

The filters run at the sites. A job whose filters do less than its experiment promises would send readable updates.
"""

from typing import Any

from nvflare.app_common.app_constant import AppConstants
from nvflare.lighter.constants import ProvFileName
from pydantic import BaseModel, ValidationError

from fedgin.errors import ConfigError
from fedgin.flare.jobs.allow_list import named_classes

# The parameters and keys in a kit's startup folder; only a site's has the secret key.
SERVER_KEY, SITE_KEY = ProvFileName.SERVER_CONTEXT_TENSEAL, ProvFileName.CLIENT_CONTEXT_TENSEAL
NO_KEY = "the project lead sets encryption_key in sites.yaml, provisions again and sends the new kits"
HE = "nvflare.app_opt.he."
ENCRYPTOR = f"{HE}model_encryptor.HEModelEncryptor"
DECRYPTOR = f"{HE}model_decryptor.HEModelDecryptor"
SERVER_CLASSES = {
    "fedgin.flare.server.encryption.CiphertextFilter",
    f"{HE}model_shareable_generator.HEModelShareableGenerator",
}
TRAIN, VALIDATE = AppConstants.TASK_TRAIN, AppConstants.TASK_VALIDATION
FIX = "start from jobs/abdomen_fedgin_encrypted for an encrypted job, from another folder under jobs/ for any other"


class _Filter(BaseModel, extra="forbid"):
    path: str
    args: dict[str, Any]


class _Chain(BaseModel, extra="forbid"):
    tasks: set[str]
    filters: list[_Filter]


class _Executor(BaseModel):
    tasks: set[str]


class _Client(BaseModel):
    """The parts of ``config_fed_client.json`` that decide what leaves a site, and how."""

    executors: list[_Executor]
    task_result_filters: list[_Chain]
    task_data_filters: list[_Chain]


# The filters in their defaults: all layers are encrypted, each multiplied by the site's own weight. No site is asked
# for its model.
ENCRYPTED = _Client(
    executors=[_Executor(tasks={TRAIN, VALIDATE})],
    task_result_filters=[_Chain(tasks={TRAIN}, filters=[_Filter(path=ENCRYPTOR, args={})])],
    task_data_filters=[_Chain(tasks={TRAIN, VALIDATE}, filters=[_Filter(path=DECRYPTOR, args={})])],
)


def check_encryption(client: dict[str, Any], server: dict[str, Any], *, encrypted: bool) -> None:
    """Check that filters and server parts are there, or that none is.

    Args:
        client: ``config_fed_client.json``.
        server: ``config_fed_server.json``.
        encrypted: ``federation.homomorphic_encryption`` of the experiment.

    Raises:
        ConfigError: they do not go with the experiment.
    """
    named = set(named_classes([client, server]))
    found = sorted(name for name in named if name.startswith(HE) or name in SERVER_CLASSES)
    if found and not encrypted:
        raise ConfigError(f"{found[0]} is configured, but experiment.yaml asks for no homomorphic_encryption", FIX)
    if encrypted and not _encrypts(client):
        raise ConfigError("config_fed_client.json does not encrypt all that experiment.yaml says it does", FIX)
    if encrypted and (missing := sorted(SERVER_CLASSES - named)):
        raise ConfigError(f"config_fed_server.json lacks {missing[0]}", FIX)


def _encrypts(client: dict[str, Any]) -> bool:
    try:
        return _Client.model_validate(client) == ENCRYPTED
    except ValidationError:
        return False

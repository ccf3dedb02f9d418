"""The classes that our jobs may name. FLARE refuses every other one, at the server and at each site."""

from collections.abc import Iterator

from fedgin.flare.jobs.configuration import (
    client_config,
    collection_client_config,
    collection_server_config,
    evaluation_client_config,
    evaluation_server_config,
    named_classes,
    server_config,
)
from fedgin.flare.jobs.numbers import Numbers
from fedgin.train.algorithm import PARAMETERS
from fedgin.train.experiment import FederationSettings

# Federations whose servers have different parts.
KINDS = (
    FederationSettings(homomorphic_encryption=True),
    *(FederationSettings.model_validate({"algorithm": {"name": name}}) for name in PARAMETERS),
)


def _named() -> Iterator[str]:
    numbers = Numbers(num_rounds=1, min_clients=1)
    yield from named_classes([evaluation_server_config(numbers), evaluation_client_config()])
    yield from named_classes([collection_server_config(numbers), collection_client_config()])
    for encrypted in (False, True):
        yield from named_classes(client_config(encrypted=encrypted))
    for federation in KINDS:
        yield from named_classes(server_config(numbers, federation))


ALLOWED_CLASSES = tuple(sorted(set(_named())))


def resources() -> dict[str, object]:
    """Return the part of FLARE's ``local/resources.json`` that makes it enforce :data:`ALLOWED_CLASSES`."""
    return {"class_allow_list": list(ALLOWED_CLASSES), "class_list_enforcement_mode": "enforce"}

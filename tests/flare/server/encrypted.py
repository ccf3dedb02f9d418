"""Keys as the project lead makes them, and updates as FLARE's filter at a site encrypts them."""

from pathlib import Path

import tenseal
from nvflare.apis.dxo import DataKind, from_shareable
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.utils.decomposers import flare_decomposers
from nvflare.app_opt.he.model_encryptor import HEModelEncryptor
from nvflare.fuel.utils import fobs

from fedgin.flare.provisioning.encryption_key import EncryptionKeyBuilder
from tests.flare.runs import came_from


def make_keys(file: Path) -> tuple[bytes, bytes]:
    """Return the server's and the sites' key file; the same again for the same ``file``."""
    builder = EncryptionKeyBuilder(str(file))
    builder.initialize(None, None)
    return builder.get_serialized_context(), builder.get_serialized_context(is_client=True)


def encrypt(site: str, update: Shareable, key: bytes) -> Shareable:
    """Encrypt an update with FLARE's own filter and send it over FLARE's own wire format."""
    encryptor = HEModelEncryptor(data_kinds=[DataKind.WEIGHT_DIFF])
    encryptor.tenseal_context, encryptor.encrypt_layers = tenseal.context_from(key), [True]
    context = FLContext()
    context.set_peer_context(FLContext())
    dxo = from_shareable(update)
    dxo.data = {name: value.copy() for name, value in dxo.data.items()}
    encrypted = encryptor.process_dxo(dxo, update, context)
    # As FLARE's processes do; otherwise its messages are taken for plain dictionaries from here on.
    flare_decomposers.register()
    sent: Shareable = fobs.loads(fobs.dumps(encrypted.update_shareable(update)))
    return came_from(site, sent)

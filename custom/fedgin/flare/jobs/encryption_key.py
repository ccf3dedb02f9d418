"""The keys for encrypted updates in a kit's startup folder, and TenSEAL, without which they are of no use."""

from importlib.util import find_spec

from nvflare.lighter.constants import ProvFileName

from fedgin.errors import ConfigError

# Only a site's has the secret key.
SERVER_KEY, SITE_KEY = ProvFileName.SERVER_CONTEXT_TENSEAL, ProvFileName.CLIENT_CONTEXT_TENSEAL
NO_KEY = "the project lead sets encryption_key in sites.yaml, provisions again and sends the new kits"


def can_encrypt() -> bool:
    """Return whether TenSEAL is installed, which is so only where it was asked for."""
    return find_spec("tenseal") is not None


def check_encryption_installed() -> None:
    """Refuse what needs encryption where it cannot be done.

    Raises:
        ConfigError: TenSEAL is not installed.
    """
    if not can_encrypt():
        raise ConfigError(
            "homomorphic encryption needs TenSEAL, which is not installed here",
            "pip install -r requirements-encryption.txt in the environment that runs FLARE",
        )

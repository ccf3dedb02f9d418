"""TenSEAL, without which nobody can use a key for encrypted updates; most federations have none."""

from importlib.util import find_spec

from fedgin.errors import ConfigError


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

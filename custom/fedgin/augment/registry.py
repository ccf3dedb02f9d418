"""Find augmentations by the name used in ``experiment.yaml``."""

from typing import Any

from fedgin.augment.base import Augmentation
from fedgin.registry import Registry

AUGMENTATIONS: Registry[Augmentation[Any]] = Registry("augmentation", "fedgin.augment.methods")

register = AUGMENTATIONS.register


def augmentation_names() -> list[str]:
    """Return every name that :func:`build_augmentation` knows, sorted."""
    return AUGMENTATIONS.names()


def build_augmentation(name: str, **params: Any) -> Augmentation[Any]:
    """Build the augmentation called ``name`` from plain values (numbers, strings, lists) as they stand in YAML.

    Raises:
        ConfigError: the name or a parameter is unknown (the message lists the known ones), or a value is out of range.
    """
    return AUGMENTATIONS.build(name, params)

"""Appearance augmentations: they change how an image looks, never where things are.

Build one by name with :func:`build_augmentation`; call it with a batch and a generator.
"""

from fedgin.augment.base import Augmentation, Draw
from fedgin.augment.registry import augmentation_names, build_augmentation, register

__all__ = ["Augmentation", "Draw", "augmentation_names", "build_augmentation", "register"]

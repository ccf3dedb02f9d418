"""GIN as MONAI transforms, for single images inside a data pipeline instead of batches before the network."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor

from fedgin.augment.methods.gin import GIN


class RandGIN(RandomizableTransform):
    """Give one image a random texture and contrast with GIN.

    Args:
        gin: the augmentation and all its settings, ``gin.probability`` among them; ``RandGIN(GIN(layers=2))``.

    Call it with a channel-first image [C, H, W] or [C, D, H, W] (array, tensor or MetaTensor; the result has the same
    type, dtype and meta data) and, if ``gin.background`` needs it, a bool ``body`` [1, *spatial]. Errors are those of
    :meth:`fedgin.augment.base.Augmentation.apply`. MONAI's random state decides every draw, so ``set_random_state``
    and the seeding of DataLoader workers make it repeatable. ``kernel_sharing`` has no effect on a batch of one, and
    ``gin.fallbacks`` counts within one worker process only.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - MONAI's convention

    def __init__(self, gin: GIN) -> None:
        super().__init__(prob=1.0)
        self.gin = gin
        self._seed = 0

    def randomize(self, data: Any = None) -> None:
        """Choose the seed from which the next image's random numbers come."""
        self._seed = int(self.R.randint(2**63 - 1, dtype=np.int64))

    def __call__(
        self, img: NdarrayOrTensor, body: NdarrayOrTensor | None = None, *, randomize: bool = True
    ) -> NdarrayOrTensor:
        """Return the augmented image; ``randomize=False`` repeats the last draw."""
        if randomize:
            self.randomize()
        gen = torch.Generator().manual_seed(self._seed)
        mask = None if body is None else convert_to_tensor(body)[None]
        out = self.gin(convert_to_tensor(img)[None], gen=gen, body=mask)
        return convert_to_dst_type(out[0], dst=img)[0]


class RandGINd(MapTransform, RandomizableTransform):
    """Give the images of one dictionary a random texture and contrast with GIN.

    All keys get the same draw, as MONAI's other dictionary transforms do; images of one shape get the same network.

    Args:
        keys: the images.
        gin: see :class:`RandGIN`.
        body_key: entry with the bool body mask [1, *spatial], or None.
        allow_missing_keys: skip keys that a dictionary lacks instead of failing.
    """

    backend = RandGIN.backend

    def __init__(
        self, keys: KeysCollection, gin: GIN, *, body_key: Hashable | None = None, allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob=1.0)
        self.body_key = body_key
        self.transform = RandGIN(gin)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> "RandGINd":
        """Seed this transform; MONAI's Compose and DataLoader call it."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Return a copy of ``data`` with augmented images."""
        out = dict(data)
        body = None if self.body_key is None else out[self.body_key]
        self.transform.randomize()
        for key in self.key_iterator(out):
            out[key] = self.transform(out[key], body, randomize=False)
        return out

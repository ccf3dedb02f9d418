"""The ``network`` section of ``experiment.yaml``: data, which is read where no network is ever built."""

from typing import Any, Literal

from pydantic import Field

from fedgin.config import Settings

Normalisation = Literal["instance", "batch", "dsbn", "fedbn"]
# Axes of an image: 2 for slices [H, W], 3 for volumes [D, H, W].
SpatialDims = Literal[2, 3]


class NetworkSettings(Settings):
    """The ``network`` section of ``experiment.yaml``.

    Attributes:
        name: a registered network.
        normalisation: ``instance`` (each image by itself, no statistics), ``batch``, ``dsbn`` (a BatchNorm for each
            modality, averaged over that modality's sites) or ``fedbn`` (BatchNorm that never leaves the site; without a
            federation it is ``batch``). The authors' network is ``fedgin_unet`` with ``batch``.
        params: the network's own parameters.
    """

    name: str = "unet"
    normalisation: Normalisation = "instance"
    params: dict[str, Any] = Field(default_factory=dict)

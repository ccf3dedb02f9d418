"""The ``network`` section of ``experiment.yaml``: data, which is read where no network is ever built."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from fedgin.config import Settings, spelt

Normalisation = Literal["instance", "batch", "dsbn", "fedbn"]
# Axes of an image: 2 for slices [H, W], 3 for volumes [D, H, W].
SpatialDims = Literal[2, 3]


WeightsFile = Annotated[
    str,
    StringConstraints(
        pattern=spelt(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors$", "the name of a .safetensors file"), max_length=128
    ),
]
EntryName = Annotated[
    str, StringConstraints(pattern=spelt(r"^[A-Za-z0-9_.-]+$", "letters, digits, '.', '_' and '-'"), max_length=256)
]


class Pretrained(Settings):
    """The file of weights that a run starts from in place of random ones.

    Attributes:
        file: its name in ``local/models`` of the kit, at the server and at each site.
        sha256: of the file; compared before the file is opened.
        leave_out: entries that start from the seed all the same, because the file has none, or one of another shape, or
            one that is not wanted; ``model.1`` stands for ``model.1`` and ``model.1.*``. Every other entry must fit.
    """

    file: WeightsFile
    sha256: Annotated[str, StringConstraints(pattern=spelt(r"^[0-9a-f]{64}$", "64 hexadecimal digits"))]
    leave_out: list[EntryName] = Field(default=[], max_length=1000)


class NetworkSettings(Settings):
    """The ``network`` section of ``experiment.yaml``.

    Attributes:
        name: a registered network.
        normalisation: ``instance`` (each image by itself, no statistics), ``batch``, ``dsbn`` (a BatchNorm for each
            modality, averaged over that modality's sites) or ``fedbn`` (BatchNorm that never leaves the site; without a
            federation it is ``batch``). The authors' network is ``fedgin_unet`` with ``batch``.
        params: the network's own parameters.
        pretrained: what a run starts from; none for random weights of the seed.
    """

    name: str = "unet"
    normalisation: Normalisation = "instance"
    params: dict[str, Any] = Field(default_factory=dict)
    pretrained: Pretrained | None = None

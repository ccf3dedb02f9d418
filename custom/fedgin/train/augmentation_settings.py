"""How training images change their look: ``augmentation`` of an experiment."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from fedgin.config import Settings
from fedgin.data.site import Modality

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class AugmentationSettings(Settings):
    """Which appearance augmentation training images go through, how many of them, and when.

    Attributes:
        name: a registered augmentation; ``none`` leaves images as they are.
        params: the augmentation's own parameters.
        probability: the probability of changing a slice or a patch at all: a number, or one for each modality, 1 where
            none is given.
        schedule: ``rising`` lets the probability rise from 0 over the run, ``falling`` lets it fall to 0; ``constant``
            does not change it.
        quality: draw again what erases edges or an organ, up to three times, and then show the clean image; see
            :mod:`fedgin.augment.quality`. A site then reports ``augmentation_refused`` with each round.

    Example:
        >>> AugmentationSettings(name="gin", probability={"CT": 0.5}).chance("CT", progress=0.1)
        0.5
        >>> AugmentationSettings(name="gin", probability=0.8, schedule="rising").chance("MR", progress=0.5)
        0.4
    """

    name: str = "none"
    params: dict[str, Any] = Field(default_factory=dict)
    probability: dict[Modality, Probability] = Field(default_factory=lambda: dict.fromkeys(Modality, 1.0))
    schedule: Literal["constant", "rising", "falling"] = "constant"
    quality: bool = False

    @field_validator("params")
    @classmethod
    def _probability_stands_beside_the_params(cls, params: dict[str, Any]) -> dict[str, Any]:
        if "probability" in params:
            raise ValueError("probability is no parameter of the method here: write augmentation.probability")
        return params

    @field_validator("probability", mode="before")
    @classmethod
    def _each_modality_has_one(cls, value: object) -> object:
        return (
            {**dict.fromkeys(Modality, 1.0), **value} if isinstance(value, Mapping) else dict.fromkeys(Modality, value)
        )

    def chance(self, modality: str, progress: float) -> float:
        """Return the probability of changing an image of ``modality`` when that share of the run's steps is done."""
        share = {"constant": 1.0, "rising": progress, "falling": 1.0 - progress}[self.schedule]
        return share * self.probability[Modality(modality)]

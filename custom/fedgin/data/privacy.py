"""The ``privacy`` section of ``site.yaml``: what a site does to its update before it leaves. No job can change it."""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from fedgin.config import Settings, spelt

LayerName = Annotated[
    str, StringConstraints(pattern=spelt(r"^\w+(\.\w+)*$", "the name of a layer, such as model.1"), max_length=200)
]


class Privacy(Settings):
    """The site's own choice: ``docs/privacy.md`` says what it means, :mod:`fedgin.train.privacy.protect` applies it.

    Attributes:
        clip_norm: largest L2 norm of the whole update.
        noise_multiplier: standard deviation of the Gaussian noise on every value, as a multiple of ``clip_norm``.
        delta: the delta of the stated (epsilon, delta).
        epsilon_budget: a round that would bring the total of this dataset above it is refused.
        keep_largest_percent: share of the values, the largest by magnitude, that are sent; all others are sent as 0.
            Not differential privacy: it sends less, and bounds nothing.
        encrypted_jobs_only: refuse every job whose updates the server could read.
        exclude_layers: layers that are not sent, by name; ``model.1`` stands for ``model.1`` and ``model.1.*``.
    """

    clip_norm: float | None = Field(default=None, ge=1e-6, le=1e6)
    noise_multiplier: float | None = Field(default=None, ge=1e-4, le=1e3)
    delta: float | None = Field(default=None, ge=1e-15, le=1e-2)
    epsilon_budget: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    keep_largest_percent: float | None = Field(default=None, gt=0.0, lt=100.0)
    encrypted_jobs_only: bool = False
    exclude_layers: tuple[LayerName, ...] = ()

    @model_validator(mode="after")
    def _settings_belong_together(self) -> "Privacy":
        if not self.model_dump(exclude_defaults=True):
            raise ValueError("the section sets nothing; leave it out, or say what is to be done")
        noise = [self.noise_multiplier, self.delta, self.epsilon_budget]
        if any(value is not None for value in noise) and None in (*noise, self.clip_norm):
            raise ValueError("noise needs all of clip_norm, noise_multiplier, delta and epsilon_budget")
        return self

"""The ``preprocessing`` section of ``experiment.yaml``: data, which is read where no image is ever opened."""

from typing import Literal

from pydantic import Field, field_validator

from fedgin.config import Settings


class Preprocessing(Settings):
    """How images become network input.

    Attributes:
        spacing_mm: pixel size of the canonical slices.
        size: pixels along left-right and along posterior-anterior; divisible by 16, which every network here accepts.
        ct_window_hu: CT is clipped to this window (Ouyang et al. use -125 to 275 HU for abdominal organs).
        mr_percentiles: MR is clipped to these percentiles of its body voxels.
        normalisation: ``zscore`` over the body, then clipped to 5 standard deviations; ``minmax`` to [0, 1].
    """

    spacing_mm: float = Field(default=2.8, gt=0.1, le=20.0)
    size: tuple[int, int] = (128, 96)
    ct_window_hu: tuple[float, float] = (-125.0, 275.0)
    mr_percentiles: tuple[float, float] = (0.5, 99.5)
    normalisation: Literal["zscore", "minmax"] = "zscore"

    @field_validator("size")
    @classmethod
    def _size_is_divisible(cls, size: tuple[int, int]) -> tuple[int, int]:
        if any(side < 16 or side > 1024 or side % 16 for side in size):
            raise ValueError("each side must be a multiple of 16 between 16 and 1024")
        return size

    @field_validator("ct_window_hu", "mr_percentiles")
    @classmethod
    def _range_is_ascending(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not limits[0] < limits[1]:
            raise ValueError("the lower limit must be below the upper one")
        return limits

    @field_validator("mr_percentiles")
    @classmethod
    def _percentiles_are_in_range(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if limits[0] < 0 or limits[1] > 100:
            raise ValueError("percentiles lie between 0 and 100")
        return limits

    @property
    def network_spacing(self) -> tuple[float, ...]:
        """Size of a pixel in mm along each axis of what the network sees."""
        return (self.spacing_mm, self.spacing_mm)

"""The ``preprocessing`` section of ``experiment.yaml``: data, which is read where no image is ever opened."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from fedgin.config import Settings

# Sides of slices and patches, in pixels: every network here can halve four times what it sees.
SIDE_STEP, LARGEST_SIDE = 16, 1024
# A whole canonical volume is in memory while a case is prepared: 1 GB, 1 m of a large body in voxels of 0.9 mm.
MOST_VOXELS = 2**28

Millimetres = Annotated[float, Field(gt=0.1, le=20.0)]


class Preprocessing(Settings):
    """How images become network input: slices of one pixel size, or volumes of which the network sees patches.

    Attributes:
        spacing_mm: one number: pixel size of axial slices, which stay where the image has them. Three numbers: voxel
            size of volumes along left-right, posterior-anterior and inferior-superior.
        size: of a slice in pixels along left-right and posterior-anterior; for volumes, of a patch along all three.
            Each is divisible by 16; a network may need more.
        ct_window_hu: CT is clipped to this window (Ouyang et al. use -125 to 275 HU for abdominal organs).
        mr_percentiles: MR is clipped to these percentiles of its body voxels.
        normalisation: ``zscore`` over the body, then clipped to 5 standard deviations; ``minmax`` to [0, 1].
    """

    spacing_mm: Millimetres | tuple[Millimetres, Millimetres, Millimetres] = 2.8
    size: Annotated[tuple[int, ...], Field(min_length=2, max_length=3)] = (128, 96)
    ct_window_hu: tuple[float, float] = (-125.0, 275.0)
    mr_percentiles: tuple[float, float] = (0.5, 99.5)
    normalisation: Literal["zscore", "minmax"] = "zscore"

    @field_validator("size")
    @classmethod
    def _size_is_divisible(cls, size: tuple[int, ...]) -> tuple[int, ...]:
        if any(side < SIDE_STEP or side > LARGEST_SIDE or side % SIDE_STEP for side in size):
            raise ValueError(f"each side must be a multiple of {SIDE_STEP} between {SIDE_STEP} and {LARGEST_SIDE}")
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

    @model_validator(mode="after")
    def _axes_agree(self) -> "Preprocessing":
        if isinstance(self.spacing_mm, tuple) != (len(self.size) == 3):
            raise ValueError("slices have one spacing_mm and two sizes, volumes have three of each")
        return self

    @property
    def spatial_dims(self) -> Literal[2, 3]:
        """Number of spatial axes of what the network sees."""
        return 3 if isinstance(self.spacing_mm, tuple) else 2

    @property
    def network_size(self) -> tuple[int, ...]:
        """What the network sees at once: (X, Y) of a slice, or (Z, X, Y) of a patch."""
        x, y, *z = self.size
        return (*z, x, y)

    @property
    def network_spacing(self) -> tuple[float, ...]:
        """Size of a pixel or voxel in mm along the axes of :attr:`network_size`."""
        x, y, *z = self.spacing_mm if isinstance(self.spacing_mm, tuple) else (self.spacing_mm, self.spacing_mm)
        return (*z, x, y)

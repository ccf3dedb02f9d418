"""Milliseconds of geometric augmentation: the batch in one call, beside MONAI's ``RandAffine`` sample by sample."""

import math
import time
from collections.abc import Callable

import torch
import typer
from monai.transforms import RandAffine
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fedgin.train.experiment import SpatialSettings
from fedgin.train.geometry import GeometricAugmentation

Batch = tuple[Tensor, Tensor, Tensor]
# Slices of jobs/abdomen_fedgin, and patches of a volume.
SHAPES = ((16, 1, 128, 96), (2, 1, 48, 96, 96))
# Of the first shape with half of its samples moved, as by default; on one core.
LIMIT_MS = 5.0


def one_by_one(settings: SpatialSettings) -> Callable[[Batch], object]:
    """Move each sample by MONAI's transform, twice: the image, then label and mask with the same draw."""
    angle = math.radians(settings.rotation_degrees)
    transform = RandAffine(
        prob=settings.probability,
        rotate_range=[(-angle, angle)] * 3,
        scale_range=[(-settings.scale, settings.scale)] * 3,
        translate_range=[(-settings.shift_pixels, settings.shift_pixels)] * 3,
        padding_mode="border",
        cache_grid=False,
    )

    def move(batch: Batch) -> list[tuple[Tensor, Tensor]]:
        return [
            (
                transform(image, mode="bilinear"),
                transform(torch.cat([label, body]).float(), mode="nearest", randomize=False),
            )
            for image, label, body in zip(*batch, strict=True)
        ]

    return move


def together(settings: SpatialSettings, axes: int) -> Callable[[Batch], object]:
    geometry, gen = GeometricAugmentation(settings, [1.0] * axes), torch.Generator().manual_seed(0)
    return lambda batch: geometry.apply(*batch, geometry.draw(len(batch[0]), gen=gen))


def milliseconds(move: Callable[[Batch], object], batch: Batch, repeats: int) -> float:
    """Return the median CPU time: how many samples a call moves is drawn."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        move(batch)
        found.append(1e3 * (time.process_time() - start))
    return sorted(found)[repeats // 2]


def main(repeats: int = 30) -> None:
    """Print rows for docs/speed.md. Exit code 1 when a batch of slices, half of them moved, takes more than 5 ms.

    Example: python -m benchmarks.data_path
    """
    torch.set_num_threads(1)
    table = Table("batch", "samples moved", "one by one, ms", "in one call, ms", "ratio")
    judged = 0.0
    for shape in SHAPES:
        image = torch.randn(shape)
        batch = (image, torch.randint(0, 7, shape, dtype=torch.uint8), image > 0)
        for probability in (0.5, 1.0):
            settings = SpatialSettings(probability=probability)
            before = milliseconds(one_by_one(settings), batch, repeats)
            after = milliseconds(together(settings, len(shape) - 2), batch, repeats)
            if (shape, probability) == (SHAPES[0], 0.5):
                judged = after
            cells = (f"{before:.1f}", f"{after:.1f}", f"{before / after:.1f}")
            table.add_row(" x ".join(map(str, shape)), f"{probability:.0%}", *cells)
    Console().print(table)
    raise typer.Exit(int(judged > LIMIT_MS))


if __name__ == "__main__":
    typer.run(main)

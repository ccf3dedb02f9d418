"""How fast GIN is on the CPU beside a grouped convolution of the same draws, and beside one training step.

    python -m benchmarks.gin
    python -m benchmarks.gin --threads 1 --draws 8

Both sides are timed alternately in this process; per draw the best of the repeats counts, and the draws are summed,
because kernel sizes decide most of the time. GIN is timed as a user calls it, with all its checks of the images; the
reference is only the bare arithmetic.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fedgin.augment.base import Draw
from fedgin.augment.methods.gin import GIN, GINParams
from fedgin.seeds import make_generator

RATIO_GOAL = 3.0
DIFFERENCE_GOAL = 1e-4
SHARE_GOAL = 0.03
SHAPE = (32, 1, 256, 256)
CLASSES = 7


@dataclass(frozen=True)
class Row:
    """Seconds per batch, mean over the draws, and the largest difference relative to the largest value."""

    threads: int
    gin: float
    grouped: float
    difference: float
    step: float

    @property
    def good(self) -> bool:
        fast = self.grouped / self.gin >= RATIO_GOAL and self.gin / self.step < SHARE_GOAL
        return fast and self.difference < DIFFERENCE_GOAL


def main(
    threads: Annotated[list[int] | None, typer.Option(help="Thread counts to measure; repeat the option.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Seeded draws to sum up.")] = 32,
    repeats: Annotated[int, typer.Option(min=1, help="Calls of each side per draw; the best counts.")] = 5,
) -> None:
    """Compare GIN with its grouped-convolution form and with a training step, batch [32, 1, 256, 256].

    Example: python -m benchmarks.gin --threads 1 --threads 2
    """
    rows = [measure(count, draws, repeats) for count in threads or (1, 2)]
    Console().print(as_table(rows))
    if not all(row.good for row in rows):
        raise typer.Exit(1)


def measure(threads: int, draws: int, repeats: int) -> Row:
    torch.set_num_threads(threads)
    gin, images = GIN(), torch.randn(SHAPE, generator=make_generator("benchmark"))
    fast = slow = difference = 0.0
    for seed in range(draws):
        draw = gin.draw(SHAPE, gen=make_generator("benchmark", seed))
        sides = (lambda draw=draw: gin.apply(images, draw), lambda draw=draw: grouped_gin(images, draw.params))
        times = best_times(sides, repeats)
        fast, slow = fast + times[0] / draws, slow + times[1] / draws
        difference = max(difference, relative_difference(gin, images, draw))
    return Row(threads, fast, slow, difference, best_times((training_step(images),), 2)[0])


def best_times(sides: tuple[Callable[[], object], ...], repeats: int) -> list[float]:
    """Call the sides in turn, once untimed, and return each one's best time in seconds."""
    best = [float("inf")] * len(sides)
    for turn in range(repeats + 1):
        for i, side in enumerate(sides):
            start = time.perf_counter()
            side()
            best[i] = min(best[i], time.perf_counter() - start) if turn else best[i]
    return best


def relative_difference(gin: GIN, images: Tensor, draw: Draw[GINParams]) -> float:
    expected = grouped_gin(images, draw.params)
    return float((gin.apply(images, draw) - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def grouped_gin(x: Tensor, params: GINParams) -> Tensor:
    """GIN as it is usually written: samples side by side on the channel axis, one convolution group each."""
    h = x.reshape(1, -1, *x.shape[2:])
    for depth, layer in enumerate(params.layers):
        h = F.leaky_relu(h, 0.01) if depth else h
        padded = F.pad(h, [layer.kernel[0] // 2] * 4, mode="reflect") if layer.kernel[0] > 1 else h
        h = F.conv2d(padded, layer.weight.flatten(0, 1), layer.bias.flatten(), groups=len(x))
    alpha = params.alpha.view(-1, 1, 1, 1)
    mixed = alpha * h.view_as(x) + (1 - alpha) * x
    x_norm, mixed_norm = (torch.linalg.vector_norm(t, dim=(1, 2, 3), keepdim=True) for t in (x, mixed))
    scale: Tensor = x_norm / (mixed_norm + 1e-5)
    return mixed * scale


def training_step(images: Tensor) -> Callable[[], None]:
    """Return one step of the usual 2D U-Net on these images with random labels."""
    net = UNet(2, 1, CLASSES, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2, norm="instance")
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-4, weight_decay=1e-4)
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    labels = torch.randint(CLASSES, SHAPE, generator=make_generator("labels"))

    def step() -> None:
        optimizer.zero_grad()
        loss(net(images), labels).backward()
        optimizer.step()

    return step


def as_table(rows: list[Row]) -> Table:
    table = Table(title=f"GIN on a batch {list(SHAPE)}, CPU, mean over the draws")
    for heading in (
        "threads",
        "GIN ms",
        "grouped ms",
        "ratio (>= 3)",
        "difference (< 1e-4)",
        "step ms",
        "share (< 3 %)",
    ):
        table.add_column(heading, justify="right")
    for row in rows:
        times = [f"{1e3 * seconds:.1f}" for seconds in (row.gin, row.grouped, row.step)]
        ratio, share = f"{row.grouped / row.gin:.2f}", f"{100 * row.gin / row.step:.2f} %"
        table.add_row(str(row.threads), *times[:2], ratio, f"{row.difference:.1e}", times[2], share)
    return table


if __name__ == "__main__":
    typer.run(main)

"""What channels-last weights and bfloat16 do to a training step and to a forward pass on this CPU.

    python -m benchmarks.formats
    python -m benchmarks.formats --network segresnet --repeats 5

Organs, loss and optimiser are those of the abdomen job. The variants are timed in turns in this process; CPU time
counts, and the best of the turns.
"""

from collections.abc import Callable
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks._clock import best_of
from benchmarks.networks import JOB, SHAPES, training_step
from fedgin.nets.registry import build_network
from fedgin.nets.settings import NetworkSettings, SpatialDims
from fedgin.seeds import make_generator
from fedgin.train.experiment import Experiment, load_experiment

LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
# Name, whether the weights have their channels last, whether convolutions compute in bfloat16.
VARIANTS = (
    ("as it is", False, False),
    ("channels last", True, False),
    ("bfloat16", False, True),
    ("both", True, True),
)


def main(
    network: Annotated[str, typer.Option(help="A registered network.")] = "unet",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    repeats: Annotated[int, typer.Option(min=2, help="Timed calls of each variant.")] = 5,
) -> None:
    """Time each variant, and compare its output with that of the network as it is.

    Example: python -m benchmarks.formats --network segresnet
    """
    torch.set_num_threads(threads)
    experiment, settings = load_experiment(JOB), NetworkSettings(name=network)
    title = f"{network}, {threads} threads: milliseconds, and against as it is"
    table = Table("what", *(name for name, *_ in VARIANTS), title=title)
    for dims, shape in SHAPES.items():
        images = torch.randn(shape, generator=make_generator("benchmark"))
        networks = [_build(settings, experiment, dims, last) for _, last, _ in VARIANTS]
        passes = [_forward(each, images, half) for each, (*_, half) in zip(networks, VARIANTS, strict=True)]
        expected, *others = [forward() for forward in passes]
        differences = [float((found - expected).abs().max()) for found in others]
        table.add_row(f"{list(shape)}, largest difference", "", *(f"{each:.0e}" for each in differences))
        _add_times(table, f"{list(shape)}, forward pass", best_of(repeats, *passes))
        steps = [
            training_step(each, experiment, images, half=half)
            for each, (*_, half) in zip(networks, VARIANTS, strict=True)
        ]
        _add_times(table, f"{list(shape)}, step", best_of(repeats, *steps))
    Console(width=160).print(table)


def _build(settings: NetworkSettings, experiment: Experiment, dims: SpatialDims, last: bool) -> nn.Module:
    network = build_network(settings, spatial_dims=dims, out_channels=experiment.classes, seed=0)
    if last:
        network.to(memory_format=LAST[dims])  # type: ignore[call-overload] # PyTorch's types lack it
    return network


def _forward(network: nn.Module, images: Tensor, half: bool) -> Callable[[], Tensor]:
    @torch.inference_mode()
    def forward() -> Tensor:
        network.eval()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits: Tensor = network(images)
        return logits.float()

    return forward


def _add_times(table: Table, what: str, seconds: list[float]) -> None:
    table.add_row(what, *(f"{1e3 * each:.0f} ({each / seconds[0]:.2f})" for each in seconds))


if __name__ == "__main__":
    typer.run(main)

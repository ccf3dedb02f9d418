"""How ``fedgin study --dry-run`` says what a study takes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from fedgin.cli.format import Format
from fedgin.cli.remaining import duration
from fedgin.cli.tables import print_rows

# From here on other work is worth a line.
BUSY = 1.25

if TYPE_CHECKING:
    from fedgin.study.forecast import Forecast
    from fedgin.train.augmentation_settings import AugmentationSettings


def print_forecast(forecast: "Forecast", out: Path, cores: int) -> None:
    """Print a line for each arm and for each method, and what all of them need of this machine.

    Args:
        forecast: of the study.
        out: folder of the study, on whose disk results go.
        cores: of the study.
    """
    import psutil

    arms = [(arm.spec.name, arm.steps, arm.cores, _time(arm.seconds, arm.complete)) for arm in forecast.arms]
    print_rows(("arm", "steps", "cores", "time"), arms, Format.TEXT)
    print_rows(("method", "its augmentation"), _augmentations(forecast), Format.TEXT)
    place = next(part for part in (out.absolute(), *out.absolute().parents) if part.is_dir())
    memory, disk = psutil.virtual_memory().total, psutil.disk_usage(str(place)).free
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"All arms: about {duration(forecast.seconds)} on {cores} core{'' if cores == 1 else 's'}")
    if forecast.busy > BUSY:
        rest = duration(forecast.seconds / forecast.busy)
        console.print(f"Other work makes this machine {forecast.busy:.1f} times slower: without it, about {rest}")
    console.print(f"Before that: at most {duration(forecast.preparing)} for cases that are not prepared yet")
    console.print(f"Memory: about {_gigabytes(forecast.memory)}, the machine has {_gigabytes(memory)}")
    console.print(f"Disk: about {_gigabytes(forecast.disk)}, {_gigabytes(disk)} are free")


def _augmentations(forecast: "Forecast") -> list[tuple[str, str]]:
    """Return each method with its augmentation: one that a method names has lost the parameters that the job had."""
    found = {arm.spec.method: arm.augmentation for arm in forecast.arms}
    return [(method, _with_parameters(settings)) for method, settings in found.items()]


def _with_parameters(settings: "AugmentationSettings") -> str:
    values = settings.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    return f"{settings.name} {json.dumps(values)}" if values else f"{settings.name}, its defaults"


def _time(seconds: float, complete: bool) -> str:
    return "complete" if complete else duration(seconds)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"

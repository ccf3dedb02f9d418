"""The ``limits`` section of ``site.yaml``: what a job may use of a site's machine. No job can change it."""

from pydantic import Field

from fedgin.config import Settings
from fedgin.errors import FedginError

SECONDS_AN_HOUR = 3600.0


class LimitError(FedginError):
    """A job is larger than the site allows, or the site takes part in none for now."""

    code = "FG-012"


class Limits(Settings):
    """What a job may use of the site's machine; all but the last four are checked before a job is deployed and started.

    Attributes:
        pause: take part in no job for now. One that runs goes on.
        parameters: most weights of the network.
        batch_pixels: most pixels or voxels in a batch: ``training.batch_size`` times all of ``preprocessing.size``.
        local_steps: most optimiser steps in a round.
        rounds: most rounds of a job.
        hours: longest time that the site works for a job; then it answers each task with an error. A resumed job is
            a job of its own.
        cache_gb: most that ``cache_dir`` may hold, in 1e9 bytes.
        cpu_threads: threads for one training process; ``None`` leaves PyTorch's own choice.
        gpu_memory_fraction: share of one GPU's memory in (0, 1].
    """

    pause: bool = False
    parameters: int = Field(default=200_000_000, ge=1)
    batch_pixels: int = Field(default=2**25, ge=1)
    local_steps: int = Field(default=10_000, ge=1)
    rounds: int = Field(default=2_000, ge=1)
    hours: float = Field(default=168.0, gt=0.0)
    cache_gb: float = Field(default=200.0, gt=0.0)
    cpu_threads: int | None = Field(default=None, ge=1, le=1024)
    gpu_memory_fraction: float = Field(default=1.0, gt=0.0, le=1.0)

    def check_parameters(self, count: int, site: str) -> None:
        """Refuse the network of a job that was deployed when the site still allowed it.

        Raises:
            LimitError: it has more than ``parameters`` weights.
        """
        if count > self.parameters:
            raise LimitError(
                f"site {site}: the network has {count:,} weights (at most {self.parameters:,})",
                "make it smaller, or raise 'limits' in site.yaml",
            )

    @property
    def seconds(self) -> float:
        """The ``hours``, in seconds."""
        return self.hours * SECONDS_AN_HOUR

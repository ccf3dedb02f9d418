"""What a site answers to a task, for those who carry the answer and do not train."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fedgin.errors import FedginError

# A tensor where it is trained, a NumPy array where it is carried: FLARE's process of a job does not load PyTorch.
ValueT = TypeVar("ValueT")
# The metric of a round with ``augmentation.quality``: the share of draws that the site refused.
REFUSED = "augmentation_refused"


class InterruptedTaskError(FedginError):
    """The task was aborted from outside; its partial result is thrown away."""

    code = "FG-070"

    def __init__(self, site: str) -> None:
        super().__init__(f"site {site}: the task was aborted", "nothing is wrong at the site")


@dataclass(frozen=True)
class LocalUpdate(Generic[ValueT]):
    """What a site sends after a round.

    Attributes:
        difference: trained minus received weights of the entries that the site sends, by state-dict name, float32 or,
            where the job asks for it, float16; layers that the site excludes are absent.
        metrics: the metrics of the *received* model on the validation cases, such as ``val_dice_mean``; where noise is
            added also ``privacy_epsilon``, spent on this dataset so far; with ``augmentation.quality`` also
            ``augmentation_refused``, the share of the round's draws that the filter refused.
        weight: the site's share in the average before it is normalised (``federation.client_weighting``).
        loss: mean training loss of the round.
        trained: ``cases`` and ``slices`` that the round's batches showed, ``of_cases`` and ``of_slices`` there are.
        withheld: names of the absent entries of those layers. The server is told, so that it can tell such an update
            from a damaged one.
        protection: what the privacy settings did; for the site's own log, never sent.
    """

    difference: dict[str, ValueT]
    metrics: dict[str, float]
    weight: float
    loss: float
    trained: dict[str, int]
    withheld: list[str] = field(default_factory=list)
    protection: str = ""

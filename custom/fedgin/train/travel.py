"""Which entries of a network leave a site with its update, and where those that stay are kept."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from fedgin.data.site import Modality
from fedgin.nets.domains import branch_entries
from fedgin.nets.normalisation import Normalisation, batch_norm_entries
from fedgin.train.checkpoint import load_checkpoint, save_checkpoint, travelling_weights

# In the folder of a site's run: {"round", "before", "model"}, the staying entries before and after the latest round.
STAYING_FILE = "staying.pt"


def staying_entries(network: nn.Module, normalisation: Normalisation) -> set[str]:
    """Return the entries that belong to the site: with FedBN (Li et al., ICLR 2021) all of BatchNorm, else none."""
    if normalisation != "fedbn":
        return set()
    return travelling_weights(network).keys() & batch_norm_entries(network)


def sent_entries(network: nn.Module, normalisation: Normalisation, modality: Modality) -> set[str]:
    """Return the entries of a site's update.

    With DSBN these are the shared entries and the branches of the site's modality. The server divides each entry by the
    weight of those that sent it, so that a branch is averaged over its modality's sites and one that nobody trained
    keeps its value. How the published FedGIN comparison federated DSBN is unknown; this is our way.
    """
    others = {entry for other in Modality if other is not modality for entry in branch_entries(network, other)}
    return travelling_weights(network).keys() - others - staying_entries(network, normalisation)


class StayingWeights:
    """The entries that a site keeps between rounds, in one file, because a new process may do the next task.

    Args:
        folder: of the site's run.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / STAYING_FILE

    def latest(self) -> dict[str, Tensor]:
        """Return the entries after the latest local training; none when there was none or nothing stays."""
        return self._read("model")

    def before(self, number: int) -> dict[str, Tensor]:
        """Return the entries that round ``number`` starts from, also when that round was trained before.

        In a site's first round there are none: it starts from those of the model that it received.
        """
        again = self.path.is_file() and number <= int(load_checkpoint(self.path)["round"])
        return self._read("before" if again else "model")

    def save(self, number: int, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
        """Keep the entries from before and after the training of a round."""
        save_checkpoint(self.path, {"round": number, "before": dict(before), "model": dict(after)})

    def _read(self, key: str) -> dict[str, Tensor]:
        return dict(load_checkpoint(self.path)[key]) if self.path.is_file() else {}

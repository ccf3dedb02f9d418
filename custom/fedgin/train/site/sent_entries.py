"""Which entries of a network leave a site with its update, and which are its own."""

from torch import nn

from fedgin.data.site import Modality
from fedgin.nets.dsbn import branch_entries
from fedgin.nets.normalisation import batch_norm_entries
from fedgin.nets.settings import Normalisation
from fedgin.train.checkpoint import averaged_weights


def local_entries(network: nn.Module, normalisation: Normalisation) -> set[str]:
    """Return the entries that belong to the site: with FedBN (Li et al., ICLR 2021) all of BatchNorm, else none."""
    if normalisation != "fedbn":
        return set()
    return averaged_weights(network).keys() & batch_norm_entries(network)


def sent_entries(network: nn.Module, normalisation: Normalisation, modality: Modality) -> set[str]:
    """Return the entries of a site's update.

    With DSBN these are the shared entries and the branches of the site's modality. The server divides each entry by the
    weight of those that sent it, so that a branch is averaged over its modality's sites and one that nobody trained
    keeps its value. How the published FedGIN comparison federated DSBN is unknown; this is our way.
    """
    others = {entry for other in Modality if other is not modality for entry in branch_entries(network, other)}
    return averaged_weights(network).keys() - others - local_entries(network, normalisation)

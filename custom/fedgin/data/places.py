"""Where each class of a volume is: few enough voxels to keep, enough to draw patches from."""

import numpy as np
import torch
from torch import Tensor

# Of each class. A patch is much larger than the distance between two of them.
PLACES = 1000


def find_places(label: Tensor, body: Tensor, organs: int) -> Tensor:
    """Return voxels of each class, evenly spread over all that it has.

    Args:
        label: uint8 [D, X, Y], organ positions plus 1.
        body: bool [D, X, Y]; places of background lie inside it, where it holds any.
        organs: the number of organs.

    Returns:
        int16 [N, 4]: class, D, X, Y. Class 0 is background; a class that the volume does not show has no row.
    """
    background = (label == 0) & body if bool(((label == 0) & body).any()) else label == 0
    found = [_spread(background if number == 0 else label == number, number) for number in range(organs + 1)]
    return torch.cat(found)


def _spread(mask: Tensor, number: int) -> Tensor:
    members = mask.flatten().nonzero().flatten()
    ranks = torch.linspace(0, max(len(members) - 1, 0), min(len(members), PLACES), dtype=torch.float64)
    chosen = members[ranks.long()]
    where = np.stack(np.unravel_index(chosen.numpy(), tuple(mask.shape)), axis=1)
    rows = torch.from_numpy(where.astype(np.int16))
    return torch.cat([torch.full((len(rows), 1), number, dtype=torch.int16), rows], dim=1)

"""Randomness that does not depend on which process happens to run a task.

Every generator is derived by hashing what it is for. FLARE may start a new client process for each task, so a stream
that lived in memory would restart; a hashed one continues.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(*purpose: int | str) -> int:
    """Hash a purpose such as ``(run_seed, site, round, step, "augment")`` to a seed in ``[0, 2**63)``.

    Parts are separated before hashing, so ``("ab", "c")`` and ``("a", "bc")`` differ.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in purpose)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def make_generator(*purpose: int | str) -> "torch.Generator":
    """Return a CPU generator seeded with :func:`derive_seed`; drawing on the CPU makes results device-independent."""
    import torch  # phantoms need seeds, too, and no PyTorch

    return torch.Generator().manual_seed(derive_seed(*purpose))

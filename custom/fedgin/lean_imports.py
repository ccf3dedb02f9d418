"""MONAI, ignite and nibabel without what they import only because it is installed, which takes longer than they do.

On import MONAI tries every optional package that any of its parts may use, and nibabel pydicom, for extensions of
NIfTI headers. Here they do not find those of parts that nobody of ours uses, and ignite, whose engine trains, gets an
empty class for PyTorch's optimiser over several processes. All are as installed again once the import is over.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

LEAN = ("monai", "ignite", "nibabel")
HIDDEN = (
    "matplotlib",  # notebooks
    "pandas",  # datasets in CSV, profiling
    "pydicom",  # a reader of its own
    "scipy.optimize",  # panoptic quality
    "scipy.signal",  # ultrasound
    "tensorboard",  # its handlers; FLARE's parts write ours
    "torch.utils.tensorboard",
)
DISTRIBUTED = "torch.distributed.optim"


@contextlib.contextmanager
def hidden_extras() -> Iterator[None]:
    """Hide what training does not need; what somebody imported before stays as it is."""
    stub = ModuleType(DISTRIBUTED)
    stub.ZeroRedundancyOptimizer = type("ZeroRedundancyOptimizer", (), {})  # type: ignore[attr-defined]
    # None means "not installed" to Python's import.
    put: dict[str, ModuleType | None] = {**dict.fromkeys(HIDDEN), DISTRIBUTED: stub}
    put = {name: module for name, module in put.items() if name not in sys.modules}
    sys.modules.update(put)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in put:
            sys.modules.pop(name, None)


class LeanLoader(SourceFileLoader):
    """Imports a package with the extras hidden."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the package's ``__init__``, which imports all of its parts."""
        with hidden_extras():
            super().exec_module(module)


class LeanFinder:
    """Finds the packages that are imported lean, and nothing else."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return a package's spec with a :class:`LeanLoader`."""
        found = PathFinder.find_spec(name, path) if name in LEAN else None
        if found is not None and found.origin is not None:
            found.loader = LeanLoader(name, found.origin)
        return found


def install() -> None:
    """Let this process's first imports of MONAI and ignite be lean ones."""
    if LeanFinder not in sys.meta_path:
        sys.meta_path.insert(0, LeanFinder)

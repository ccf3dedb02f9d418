"""MONAI, ignite, nibabel and PyTorch's optimisers without what they import only because it is installed.

It takes longer to import than what is needed.

On import MONAI tries every optional package that any of its parts may use, and nibabel pydicom, for extensions of
NIfTI headers. Here they do not find those of parts that nobody of ours uses, and ignite, whose engine trains, gets an
empty class for PyTorch's optimiser over several processes. All are as installed again once the import is over.

Each of PyTorch's optimisers imports its compiler, 2.5 s of CPU and 80 MB, only to ask it not to compile the optimiser.
Here they get two functions that do nothing; whoever wants anything else of the compiler gets the whole of it.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

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
COMPILER = "torch._dynamo"


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


class Compiler(ModuleType):
    """Stands for PyTorch's compiler until something of it is asked for that no optimiser needs."""

    @staticmethod
    def disable(function: Callable[..., Any], *_: object, **__: object) -> Callable[..., Any]:
        """Return the function: nothing is compiled."""
        return function

    @staticmethod
    def graph_break() -> None:
        """End a piece that is compiled, of which there is none."""

    def __getattr__(self, name: str) -> Any:
        """Become the compiler; only asking what this module has, as ``inspect`` does, changes nothing."""
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        self.__class__ = ModuleType  # type: ignore[assignment]
        self.__path__ = list(spec.submodule_search_locations or ())
        spec.loader.exec_module(self)
        return getattr(self, name)


class CompilerLoader(SourceFileLoader):
    """Makes the stand-in, and later executes the compiler in it."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the stand-in."""
        module = Compiler(spec.name)
        module.__path__ = []  # which Python asks for before it sets it
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave the stand-in as it is; execute the package in what was one."""
        if isinstance(module, Compiler):
            del module.__path__  # so that importing a part of the package asks for it
        else:
            super().exec_module(module)


LOADERS = {**dict.fromkeys(LEAN, LeanLoader), COMPILER: CompilerLoader}


class LeanFinder:
    """Finds the packages that are imported lean, and nothing else."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return a package's spec with a loader of this module."""
        found = PathFinder.find_spec(name, path) if name in LOADERS else None
        if found is not None and found.origin is not None:
            found.loader = LOADERS[name](name, found.origin)
        return found


def install() -> None:
    """Let this process's first imports of these packages be lean ones."""
    if LeanFinder not in sys.meta_path:
        sys.meta_path.insert(0, LeanFinder)

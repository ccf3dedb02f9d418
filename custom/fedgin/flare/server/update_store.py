"""Keep a round's checked updates in files, so that the server's memory does not grow with the number of sites."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fedgin.files import whole_file
from fedgin.flare.server.guard import Update, UpdateRefusedError

Array = NDArray[Any]
# Bytes of an array that is worth a file.
LARGE = 2**16


def to_array(value: Any) -> Array:
    """Return an entry of an update or a model as safetensors takes it; a ciphertext, TenSEAL's vector, as its bytes."""
    if isinstance(value, np.ndarray):
        return np.asarray(value, order="C")
    return np.frombuffer(value.serialize(), np.uint8)


def in_a_file(folder: Path) -> Callable[[Array], Array]:
    """Return what puts an array into a file without a name, which ends with the array.

    So an update that comes in does not lie in memory until it is complete. Where no file can be written, it does.

    Args:
        folder: exists, and has room.
    """

    def put(array: Array) -> Array:
        if array.nbytes < LARGE:
            return array
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                array.tofile(file)
                return np.asarray(np.memmap(file, array.dtype, "c", shape=array.shape))
        except OSError:
            return array

    return put


class StoredEntries(Mapping[str, Any]):
    """The differences of an update; each is read from the file when it is asked for, and nobody keeps it.

    Args:
        path: a safetensors file.
        names: of its entries.
        unpack: makes of an array what the update held.
    """

    def __init__(self, path: Path, names: tuple[str, ...], unpack: Callable[[Array], Any]) -> None:
        self._path = path
        self._names = names
        self._unpack = unpack

    def __getitem__(self, name: str) -> Any:
        """Read one entry."""
        if name not in self._names:
            raise KeyError(name)
        with safe_open(self._path, framework="numpy") as file:
            return self._unpack(file.get_tensor(name))

    def __iter__(self) -> Iterator[str]:
        """Walk the names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._names)


class UpdateStore:
    """A folder of its own for the updates of the round that is open.

    Args:
        folder: what an earlier round or run left in it is deleted.
        unpack: makes of a kept array what the average takes.
    """

    def __init__(self, folder: Path, unpack: Callable[[Array], Any]) -> None:
        self._folder = folder
        self._unpack = unpack
        self._kept = 0
        self.clear()

    def keep(self, update: Update) -> Update:
        """Return the update with its entries in a file.

        Raises:
            UpdateRefusedError: the file cannot be written.
        """
        self._kept += 1
        path = self._folder / f"{self._kept}.safetensors"
        try:
            with whole_file(path) as part:
                save_file({name: to_array(value) for name, value in update.data.items()}, part)
        except (OSError, SafetensorError):  # the latter hides a full disk
            raise UpdateRefusedError("the server cannot keep it", "free disk space at the server") from None
        return replace(update, data=StoredEntries(path, tuple(update.data), self._unpack))

    def clear(self) -> None:
        """Delete all updates."""
        shutil.rmtree(self._folder, ignore_errors=True)

"""Preprocess each case once and keep the result; a cached case is read by slice or patch, not as a whole set."""

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fedgin.data.appearance import Look
from fedgin.data.datalist import Case
from fedgin.data.limits import LimitError
from fedgin.data.look import look_at
from fedgin.data.places import find_places
from fedgin.data.preprocessing import Canonical, preprocess
from fedgin.data.preprocessing_settings import Preprocessing
from fedgin.data.resampling import VoxelGrid
from fedgin.data.volumes import map_organs, read_pair
from fedgin.errors import DataError
from fedgin.files import hash_file, whole_file

# Counts up whenever preprocessing computes something else, so that a cache of older code is never used.
RECIPE_VERSION = 7
# Key of an entry's header under which the hash of all else stands.
DIGEST = "sha256"


@dataclass(frozen=True)
class CachedCase:
    """A preprocessed case on disk.

    Attributes:
        case: where it comes from.
        path: a safetensors file with ``image`` float32, ``label`` uint8 and ``body`` bool, each [D, X, Y], and with
            ``places`` int16 [N, 4]: voxels of each class, as class, D, X, Y; see :mod:`fedgin.data.places`.
        organs: the experiment's organs; ``label`` holds their position plus 1.
        window: what the network sees at once: (X, Y) of a slice, or (D, X, Y) of a patch.
    """

    case: Case
    path: Path
    organs: tuple[str, ...]
    window: tuple[int, ...]

    @cached_property
    def _header(self) -> dict[str, str]:
        with safe_open(self.path, framework="pt") as file:
            return dict(file.metadata())

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Size of the canonical volume, (D, X, Y)."""
        with safe_open(self.path, framework="pt") as file:
            d, x, y = file.get_slice("image").get_shape()
        return d, x, y

    @property
    def affine(self) -> NDArray[np.float64]:
        """Affine (4x4) of the canonical volume [X, Y, D]."""
        return np.array(json.loads(self._header["affine"]))

    @property
    def native(self) -> VoxelGrid:
        """VoxelGrid of the original image."""
        shape = json.loads(self._header["native_shape"])
        return VoxelGrid((shape[0], shape[1], shape[2]), np.array(json.loads(self._header["native_affine"])))

    @property
    def look(self) -> Look:
        """How the original image looks, in numbers."""
        return Look.model_validate_json(self._header["look"])

    @property
    def shown(self) -> list[tuple[int, ...]]:
        """For each slice, the numbers of the organs that it shows."""
        return [tuple(numbers) for numbers in json.loads(self._header["shown"])]

    @property
    def labelled(self) -> tuple[str, ...]:
        """The experiment's organs that this case's site labels."""
        return tuple(organ for organ in self.organs if organ in self.case.label_ids)

    def read(self, name: str, index: int | slice | tuple[slice, ...] = slice(None)) -> Tensor:
        """Read a tensor, or a part of it, such as one slice [X, Y] of an image [D, X, Y]; nothing else is in memory.

        Raises:
            DataError: the file is gone or damaged since it was written.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                # A copy: a view of the mapped file would bring the process down if the file were cut short meanwhile.
                return torch.as_tensor(file.get_slice(name)[index]).clone()
        except (OSError, SafetensorError):
            raise DataError(
                f"{self.case}: its file in the cache cannot be read any more",
                "let nobody clear the cache while a job runs, then go on: the next job writes the file again",
            ) from None


class CaseCache:
    """A folder of preprocessed cases, keyed by content and parameters.

    The key covers the bytes of image and label, the site's label map and modality, the experiment's organs and
    preprocessing, and the version of the code; a change of any of them misses the cache instead of reading it stale.
    Files are written under a temporary name and moved into place, so a killed process leaves no damaged entry. Each
    holds its key and the hash of its content, which are checked once a job: an entry that a failing disk or somebody's
    script changed is computed again. Who may write here and into the data can forge both.

    Args:
        folder: made when missing.
        settings: the experiment's preprocessing.
        organs: the experiment's organs in order.
        most: bytes that the folder may hold.
    """

    def __init__(self, folder: Path, settings: Preprocessing, organs: Sequence[str], *, most: float = math.inf) -> None:
        self.folder = folder
        self.settings = settings
        self.organs = tuple(organs)
        self.most = most
        self._held: int | None = None

    def get(self, case: Case) -> CachedCase:
        """Return the preprocessed case, computing it when it is not there yet.

        Raises:
            DataError: the case cannot be right (see :mod:`fedgin.data.volumes`) or the folder cannot be written.
            LimitError: the folder would hold more than it may.
        """
        named = self.name(case)
        if not _is_whole(named.path, named.path.stem):
            self._write(named.path, named.path.stem, case)
        return named

    def name(self, case: Case) -> CachedCase:
        """Return the preprocessed case as :meth:`get` does, but compute nothing: its file may not be there.

        Raises:
            DataError: image or label cannot be read.
        """
        path = self.folder / f"{self._key(case)}.safetensors"
        return CachedCase(case, path, self.organs, self.settings.network_size)

    def _key(self, case: Case) -> str:
        recipe = {
            "version": RECIPE_VERSION,
            "image": _hash_file(case, case.image),
            "label": _hash_file(case, case.label),
            "modality": case.modality,
            "label_ids": case.label_ids,
            "ignore": case.ignore,
            "png": case.png.model_dump() if case.png else None,
            "hounsfield": case.in_hounsfield_units,
            "organs": self.organs,
            "settings": self.settings.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]

    def _write(self, path: Path, key: str, case: Case) -> None:
        image, label = read_pair(case)
        organs = map_organs(case, label, list(self.organs))
        # A single slice may show none; a whole volume that does is the wrong file or the wrong map.
        if not organs.any() and min(organs.shape) > 1:
            raise DataError(
                f"{case}: the label shows none of {', '.join(self.organs)}",
                "take the case out of the datalist, or correct 'labels' in site.yaml",
            )
        prepared = preprocess(image, organs, case.in_hounsfield_units, self.settings)
        tensors = {"image": prepared.image, "label": prepared.label, "body": prepared.body}
        tensors["places"] = find_places(prepared.label, prepared.body, len(self.organs))
        header = _describe(prepared) | {"look": look_at(image).model_dump_json()}
        self._make_room(case, sum(tensor.nbytes for tensor in tensors.values()))
        try:
            with whole_file(path) as part:
                save_file(tensors, part, header | {DIGEST: _digest(key, header, tensors)})
        except (OSError, SafetensorError):
            raise DataError(
                f"site {case.site}: the cache folder cannot be written",
                "free disk space, or set 'cache_dir' in site.yaml to a writable folder",
            ) from None

    def _make_room(self, case: Case, size: int) -> None:
        """Count what is written; nothing is deleted, because another job may be reading it."""
        if self._held is None:
            self._held = sum(map(_size, self.folder.glob("*.safetensors")))
        self._held += size
        if self._held > self.most:
            raise LimitError(
                f"site {case.site}: the cache folder would hold more than {self.most / 1e9:g} GB",
                "empty the folder while no job runs, or raise 'limits.cache_gb' in site.yaml",
            )


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):  # another job's, which it has just moved into place
        return path.stat().st_size
    return 0


def _describe(prepared: Canonical) -> dict[str, str]:
    return {
        "affine": json.dumps(prepared.affine.tolist()),
        "native_shape": json.dumps([int(side) for side in prepared.native.shape]),
        "native_affine": json.dumps(prepared.native.affine.tolist()),
        "shown": json.dumps([[number for number in part.unique().tolist() if number] for part in prepared.label]),
    }


def _is_whole(path: Path, key: str) -> bool:
    """Tell whether the entry of this key is there, as it was written."""
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError):
        return False
    return header.pop(DIGEST, "") == _digest(key, header, tensors)


def _digest(key: str, header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(json.dumps([key, header], sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().numpy().data)
    return found.hexdigest()


def _hash_file(case: Case, path: Path) -> str:
    try:
        return hash_file(path)
    except OSError:
        raise DataError(f"{case}: a file cannot be read", "restore the file and its permissions") from None

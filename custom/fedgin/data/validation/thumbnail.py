"""One small picture of a case: its busiest axial slice, plain and with the label over it."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedgin.data.datalist import Case
from fedgin.data.site import OrganIds, ids_of
from fedgin.data.validation.facts import count_by_slice, thin, to_ras
from fedgin.data.volumes import Volume

HEIGHT = 180
CT_WINDOW_HU = (-160.0, 240.0)
GAP = 4
# Hues that differ on a grey image; further organs start again. The page's legend uses the same list.
COLOURS = (
    *("#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4"),
    *("#46f0f0", "#f032e6", "#bcf60c", "#fabebe", "#008080", "#9a6324", "#aaffc3", "#808000"),
)


def colour_of(label_ids: Mapping[str, OrganIds]) -> dict[str, str]:
    """Return each organ's colour, in the order of the site's label map."""
    return {organ: COLOURS[index % len(COLOURS)] for index, organ in enumerate(label_ids)}


def draw_thumbnail(case: Case, image: Volume, label: Volume | None) -> str:
    """Return a JPEG data URI: the slice alone and, when a label of known ids lies on its grid, again with the label.

    Drawn as a radiologist looks at it: the patient's right on the left, the front up, millimetres square.
    """
    ras = to_ras(image)
    ids = np.asarray(to_ras(label).voxels) if label is not None else None
    index = ras.voxels.shape[2] // 2 if ids is None else _busiest(ids, case.label_ids)
    size = (_width(ras), HEIGHT)
    grey = upright(to_grey(ras.voxels[..., index], grey_limits(ras.voxels, hounsfield=case.in_hounsfield_units)))
    plain = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR).convert("RGB"))
    if ids is None:
        return _encode(plain)
    shown = np.asarray(Image.fromarray(upright(ids[..., index])).resize(size, Image.Resampling.NEAREST))
    gap = np.full((HEIGHT, GAP, 3), 255, dtype=np.uint8)
    return _encode(np.hstack([plain, gap, _blend(plain, shown, case.label_ids)]))


def _width(ras: Volume) -> int:
    """Return the picture's width in pixels for square millimetres, within limits for absurd headers."""
    width_mm, height_mm = (ras.spacing * ras.voxels.shape)[:2]
    return int(np.clip(HEIGHT * width_mm / height_mm, 0.3 * HEIGHT, 3 * HEIGHT))


def _busiest(ids: NDArray[Any], label_ids: Mapping[str, OrganIds]) -> int:
    """Return the slice that shows most organs, of these the one with most labelled pixels; else the middle one."""
    counts = count_by_slice(np.moveaxis(ids[::4, ::4], 2, 0))
    by_organ = np.array([counts[:, list(ids_of(organ))].sum(1) for organ in label_ids.values()])
    pixels, organs = by_organ.sum(0), np.count_nonzero(by_organ, axis=0)
    return int(np.lexsort((pixels, organs))[-1]) if pixels.any() else ids.shape[2] // 2


def grey_limits(voxels: NDArray[Any], *, hounsfield: bool) -> tuple[float, float]:
    """Return the values of an image [X, Y, Z] that are shown as black and as white."""
    if hounsfield:
        return CT_WINDOW_HU
    low, high = np.percentile(thin(thin(voxels)), (1.0, 99.0))
    return float(low), float(high)


def to_grey(picture: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """Return values as grey, the lower limit black and the upper one white."""
    low, high = limits
    scaled = (picture.astype(np.float32) - low) / max(high - low, 1e-6)
    return np.asarray(np.clip(scaled, 0.0, 1.0) * 255.0, dtype=np.uint8)


def _blend(grey: NDArray[np.uint8], ids: NDArray[np.uint8], label_ids: Mapping[str, OrganIds]) -> NDArray[np.uint8]:
    colours = np.zeros((256, 3), dtype=np.uint8)
    for organ, colour in colour_of(label_ids).items():
        colours[list(ids_of(label_ids[organ]))] = list(bytes.fromhex(colour[1:]))
    return np.where(ids[..., None] > 0, grey // 2 + colours[ids] // 2, grey)


def upright(picture: NDArray[Any]) -> NDArray[Any]:
    """Turn [X, Y] into rows and columns of a picture."""
    return np.ascontiguousarray(picture.T[::-1, ::-1])


def _encode(picture: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="jpeg", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

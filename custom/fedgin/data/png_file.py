"""Read the pixels of a PNG file as they are seen."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def read_pixels(path: Path) -> NDArray[Any]:
    """Return the pixels [row, column] of a grey picture, or with a third axis those of one in colours.

    Those of a picture of one bit are 0 and 1. A picture with a palette holds numbers of palette entries, which are no
    greys; its entries say which it is.

    Raises:
        Exception: the file is no PNG, or damaged; Pillow raises many kinds.
    """
    with Image.open(path, formats=["PNG"]) as picture:
        if picture.mode != "P":
            pixels = np.array(picture)
            return pixels.astype(np.uint8) if pixels.dtype == np.bool_ else pixels
        colours = np.array(picture.convert("RGB"))
    greys = colours[..., 0]
    return greys if (colours == greys[..., None]).all() else colours

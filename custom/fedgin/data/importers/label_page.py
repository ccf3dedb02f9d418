"""A page with a picture of each organ of an archive's site: whether a numbering means what its table says is seen."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from fedgin.data.datalist import Case
from fedgin.data.validation.thumbnail import draw_thumbnail
from fedgin.data.volumes import Volume, read_pair
from fedgin.errors import DataError
from fedgin.page import Verdict, write_page

PAGE = "labels.html"


def write_label_page(
    path: Path, site: str, labels: Mapping[str, int], examples: Mapping[str, tuple[str, Case]]
) -> None:
    """Write one HTML file that needs no other file and no network.

    Args:
        path: of the page.
        site: the name of the site.
        labels: organ to its id.
        examples: organ to the name of a case that shows it, and the case.
    """
    pictures = dict.fromkeys(labels, "")
    for case in {str(case.label): case for _, case in examples.values()}.values():
        shown = [organ for organ, (_, example) in examples.items() if example.label == case.label]
        pictures |= _pictures(case, {organ: labels[organ] for organ in shown})
    rows = [
        {"organ": organ, "id": number, "case": examples[organ][0], "picture": pictures[organ]}
        for organ, number in labels.items()
    ]
    verdict = Verdict("Look at each picture: is the coloured organ the one that is named?")
    write_page(path, "labels.html", "fedgin.data.importers", {"site": site, "rows": rows, "verdict": verdict})


def _pictures(case: Case, labels: Mapping[str, int]) -> dict[str, str]:
    """Return a picture of each organ alone; nothing where image and label do not fit, which validation says."""
    try:
        image, label = read_pair(case)
    except DataError:
        return {}
    ids = np.asarray(label.voxels)
    return {
        organ: draw_thumbnail(
            replace(case, label_ids={organ: number}), image, Volume(np.where(ids == number, ids, 0), label.affine)
        )
        for organ, number in labels.items()
    }

"""The page of ``fedgin predict``: warnings first, the organs where they are largest, sides as a radiologist looks."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fedgin.data.site import Modality
from fedgin.data.validation.thumbnail import COLOURS
from fedgin.data.volumes import Volume
from fedgin.deploy.predict import Prediction
from fedgin.deploy.results import Result
from fedgin.report.overlays import PIXELS, Panel
from fedgin.report.prediction_page import MOST_IMAGES, MOST_SLICES, Pictures, draw_slices, write_prediction_page
from tests.deploy.bundles import make_bundle

SHAPE = (40, 30, 12)


def centre_of(picture: NDArray[np.uint8], colour: str) -> tuple[float, float]:
    """Return the mean row and column of the pixels of an outline, as shares of the picture."""
    wanted = np.array(list(bytes.fromhex(colour[1:])))
    rows, columns = np.nonzero((np.abs(picture.astype(int) - wanted) < 3).all(axis=2))
    return float(rows.mean() / picture.shape[0]), float(columns.mean() / picture.shape[1])


def two_kidneys() -> NDArray[np.uint8]:
    """Return the right kidney (1) with its largest section low, the left one (2) with it high; +x is the right."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[26:34, 5:12, 2:4] = 1
    labels[28:30, 5:12, 4:9] = 1
    labels[5:12, 5:12, 9:11] = 2
    return labels


@pytest.mark.parametrize("turn", [(1, 1, 1), (-1, 1, 1), (-1, -1, -1)])
def test_each_organ_is_shown_where_it_is_largest_and_on_its_side(turn: tuple[int, int, int]) -> None:
    """Whatever the directions of the stored axes: the patient's right is on the left, the front up, the head up."""
    labels, voxels = two_kidneys(), np.random.default_rng(0).normal(0.0, 100.0, SHAPE)
    stored = tuple(slice(None, None, step) for step in turn)
    affine = np.diag([*(2.0 * step for step in turn[:2]), 5.0 * turn[2], 1.0])
    panels = draw_slices(Volume(voxels[stored], affine), labels[stored], ["right_kidney", "left_kidney"], Modality.CT)
    assert [(panel.title, panel.note) for panel in panels] == [
        ("axial slice 3 of 12", "largest: right kidney"),
        ("axial slice 10 of 12", "largest: left kidney"),
        ("coronal slice 6 of 30", "most of all organs"),
    ]
    low, high, coronal = (np.asarray(panel.picture) for panel in panels)
    assert low.shape == (PIXELS * 60 // 80, PIXELS, 3)
    right, left = centre_of(low, COLOURS[0]), centre_of(high, COLOURS[1])
    assert right[1] < 0.5 < left[1]
    assert min(right[0], left[0]) > 0.5, "the back is below"
    assert centre_of(coronal, COLOURS[0])[0] > centre_of(coronal, COLOURS[1])[0], "the head is up"


def test_without_an_organ_the_middle_slice_is_shown_and_with_many_not_all() -> None:
    voxels = np.random.default_rng(0).normal(0.0, 100.0, SHAPE)
    [only] = draw_slices(Volume(voxels, np.eye(4)), np.zeros(SHAPE, dtype=np.uint8), ["liver"], Modality.MR)
    assert (only.title, only.note) == ("axial slice 7 of 12", "no organ was found")
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for number in range(1, 11):
        labels[2 : 4 + number, 2:9, number] = number
    panels = draw_slices(Volume(voxels, np.eye(4)), labels, [f"organ_{number}" for number in range(1, 11)], Modality.MR)
    assert len(panels) == MOST_SLICES + 1


def test_warnings_stand_at_the_top_and_again_at_their_image(tmp_path: Path) -> None:
    results = [
        Result("a", "CT", {"liver": 1500.0, "left_kidney": 0.0}, ("left kidney was not found",), ["a_seg.nii.gz"]),
        Result("b", problem="the image is not readable as NIfTI"),
        Result("c", "CT", {"liver": 900.25, "left_kidney": 150.0}),
    ]
    pictures = Pictures()
    pictures.by_name["a"] = [Panel("axial slice 1 of 2", Image.new("RGB", (9, 9)))]
    write_prediction_page(tmp_path / "report.html", make_bundle(tmp_path), results, pictures)
    page = (tmp_path / "report.html").read_text()
    assert "2 of 3 images went through; with warnings: 1." in page
    assert page.count("left kidney was not found") == page.count("the image is not readable as NIfTI") == 2
    top = page[: page.index('id="image-1"')]
    assert "left kidney was not found" in top
    assert "not a medical device" in top
    assert '<td class="number">900.2</td>' in page
    assert page.count("No pictures") == 1


def test_the_page_stays_of_a_size_that_opens(tmp_path: Path) -> None:
    pictures, image = Pictures(), Volume(np.random.default_rng(0).normal(0.0, 1.0, (8, 8, 2)), np.eye(4))
    prediction = Prediction(np.zeros((8, 8, 2), dtype=np.uint8), {"liver": 0.0}, ())
    for number in range(MOST_IMAGES + 3):
        pictures.draw(Result(f"image-{number}", "CT"), image, prediction)
    assert len(pictures.by_name) == MOST_IMAGES
    [panel] = pictures.by_name["image-0"]
    encoded = re.fullmatch(r"data:image/jpeg;base64,(.*)", panel.source)
    assert encoded
    assert Image.open(io.BytesIO(base64.b64decode(encoded[1]))).size == (PIXELS, PIXELS)

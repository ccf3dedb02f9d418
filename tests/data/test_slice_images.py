"""Images that are slices already: PNG and two-dimensional NIfTI."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fedgin.data.datalist import Case, Split, list_cases
from fedgin.data.prepare import SiteData, prepare_site
from fedgin.data.preprocessing_settings import Preprocessing
from fedgin.data.site import load_site
from fedgin.data.validation.findings import Severity
from fedgin.data.validation.run import validate_site
from fedgin.data.volumes import read_pair
from fedgin.errors import DataError
from fedgin.train.evaluate.evaluator import evaluate
from tests.real_data import real_data

CHAMBERS = {"left_ventricle": 1, "right_ventricle": 2, "left_atrium": 3, "right_atrium": 4}
HEART = {
    "CT": {**CHAMBERS, "myocardium": 5, "aorta": 6, "pulmonary_artery": 7},
    "MR": {**CHAMBERS, "aorta": 5, "pulmonary_artery": 6, "superior_vena_cava": 7, "inferior_vena_cava": 8},
}
COMMON = [*CHAMBERS, "aorta", "pulmonary_artery"]


def write_png_site(folder: Path, *, pixel: float | None = 0.7, mode: str = "L", axes: str = "LP") -> Path:
    """Three slices, of three patients; a bright disc on the patient's right, upper half."""
    folder.mkdir(parents=True, exist_ok=True)
    size = 64
    rows, columns = np.mgrid[:size, :size]
    disc = (rows - size * 0.3) ** 2 + (columns - size * 0.25) ** 2 < (size * 0.12) ** 2
    entries = []
    for number in range(3):
        grey = np.where(disc, 200, 90).astype(np.uint8)
        grey[:4] = grey[-4:] = 0
        Image.fromarray(grey).convert(mode).save(folder / f"{number}_img.png")
        Image.fromarray(disc.astype(np.uint8)).save(folder / f"{number}_seg.png")
        entries.append({"image": f"{number}_img.png", "label": f"{number}_seg.png", "patient": f"p{number}"})
    splits = {"training": entries[:1], "validation": entries[1:2], "test": entries[2:]}
    (folder / "datalist.json").write_text(json.dumps(splits))
    contract: dict[str, object] = {"site": "s", "modality": "CT", "data_root": ".", "labels": {"liver": 1}}
    if pixel is not None:
        contract["png"] = {"pixel_mm": pixel, "axes": axes}
    (folder / "site.yaml").write_text(yaml.safe_dump(contract))
    return folder / "site.yaml"


def prepare(path: Path, organs: list[str] | None = None) -> SiteData:
    return prepare_site(load_site(path), Preprocessing(spacing_mm=1.4, size=(32, 32)), organs or ["liver"])


def test_a_png_is_one_slice_with_the_sites_pixel_size(tmp_path: Path) -> None:
    case = prepare(write_png_site(tmp_path)).cases[Split.TRAINING][0]
    image, _ = read_pair(case.case)
    assert image.voxels.shape == (64, 64, 1)
    np.testing.assert_allclose(image.spacing, [0.7, 0.7, 1.0])
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")


@pytest.mark.parametrize(("axes", "right", "front"), [("LP", 1, 1), ("RP", 0, 1), ("LA", 1, 0), ("RA", 0, 0)])
def test_what_is_seen_upper_left_lies_where_the_site_says(tmp_path: Path, axes: str, right: bool, front: bool) -> None:
    label = prepare(write_png_site(tmp_path, axes=axes)).cases[Split.TRAINING][0].read("label", 0).numpy()
    x, y = np.argwhere(label).mean(0)
    assert (x > 16) == right, "the canonical x axis points to the patient's right"
    assert (y > 16) == front, "the canonical y axis points to the front"


def test_a_png_without_a_pixel_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="training case 1: PNG slices carry no pixel size"):
        prepare(write_png_site(tmp_path, pixel=None))


def test_a_colour_png_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the image is a colour picture"):
        prepare(write_png_site(tmp_path, mode="RGB"))


def with_palette(greys: NDArray[np.uint8], entries: list[int], colours: list[tuple[int, ...]]) -> Image.Image:
    """Return a picture whose palette has the greys in another order, and other colours where some are given."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[entries] = np.arange(256)[:, None]
    for grey, colour in enumerate(colours):
        palette[entries[grey]] = colour
    picture = Image.fromarray(np.array(entries, dtype=np.uint8)[greys], mode="L")
    picture.putpalette(palette.tobytes())
    return picture


@pytest.fixture(scope="module")
def png_case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return list_cases(load_site(write_png_site(tmp_path_factory.mktemp("png"))))[Split.TRAINING][0]


@given(entries=st.permutations(range(256)))
def test_a_png_with_a_grey_palette_is_read_as_it_is_seen(png_case: Case, entries: list[int]) -> None:
    image, label = read_pair(png_case)
    with tempfile.TemporaryDirectory() as scratch:
        case = replace(png_case, image=Path(scratch) / "image.png", label=Path(scratch) / "label.png")
        for grey, path in ((png_case.image, case.image), (png_case.label, case.label)):
            with_palette(np.array(Image.open(grey)), entries, []).save(path)
        found = read_pair(case)
    np.testing.assert_array_equal(found[0].voxels, image.voxels)
    np.testing.assert_array_equal(found[1].voxels, label.voxels)


@pytest.mark.parametrize("role", ["img", "seg"])
def test_a_png_with_a_palette_of_colours_is_refused(tmp_path: Path, role: str) -> None:
    site = write_png_site(tmp_path)
    path = tmp_path / f"0_{role}.png"
    greys = np.array(Image.open(path)) % 199  # of either, some are 1
    with_palette(greys, list(range(256)), [(0, 0, 0), (128, 0, 0)]).save(path)
    with pytest.raises(DataError, match="is a colour picture"):
        prepare(site)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n cut short"])
def test_a_damaged_png_is_refused(tmp_path: Path, content: bytes) -> None:
    path = write_png_site(tmp_path)
    (tmp_path / "0_img.png").write_bytes(content)
    with pytest.raises(DataError, match="not readable as PNG"):
        prepare(path)


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 1)])
def test_a_two_dimensional_nifti_is_one_slice(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write_png_site(tmp_path)
    splits = json.loads((tmp_path / "datalist.json").read_text())
    for entries in splits.values():
        for entry in entries:
            for role in ("image", "label"):
                voxels = np.array(Image.open(tmp_path / entry[role])).T.reshape(shape)
                if role == "image":
                    voxels = voxels.astype(np.float32) - 150.0
                entry[role] = entry[role].replace(".png", ".nii.gz")
                nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-0.7, -0.7, 1.0, 1.0])), tmp_path / entry[role])
    (tmp_path / "datalist.json").write_text(json.dumps(splits))
    case = prepare(path).cases[Split.TEST][0]
    assert case.read("image").shape == (1, 32, 32)
    assert case.shown == [(1,)]


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_real_heart_slices_are_prepared_and_scored(tmp_path: Path, modality: str) -> None:
    data = real_data(f"heart_{modality.lower()}_slices")
    images = sorted(data.glob("*_img.png"))
    by_patient: dict[str, list[dict[str, str]]] = {}
    for image in images:
        patient = image.name.split("_")[0]
        label = image.name.replace("_img", "_seg")
        by_patient.setdefault(patient, []).append({"image": image.name, "label": label, "patient": patient})
    first, second, third, *rest = by_patient.values()
    splits = {"training": first + second, "validation": third, "test": [entry for slices in rest for entry in slices]}
    (tmp_path / "datalist.json").write_text(json.dumps(splits))
    contract = {"site": "heart", "modality": modality, "data_root": str(data), "labels": HEART[modality]}
    contract |= {"datalist": str(tmp_path / "datalist.json"), "cache_dir": str(tmp_path / "cache")}
    # Found by looking: the left atrium is left of the right one in both sets, and above it in the MR slices.
    contract["png"] = {"pixel_mm": 0.5, "axes": {"CT": "RP", "MR": "RA"}[modality]}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(contract))
    assert validate_site(load_site(tmp_path / "site.yaml")).verdict is Severity.PASS
    cases = prepare(tmp_path / "site.yaml", COMMON).cases[Split.VALIDATION]
    network = torch.nn.Conv2d(1, 7, 1)
    assert {score.organ for score in evaluate(network, cases, torch.device("cpu"), in_one_piece=())} <= set(COMMON)


def test_a_label_of_one_bit_has_the_ids_0_and_1(tmp_path: Path) -> None:
    path = write_png_site(tmp_path)
    expected = read_pair(list_cases(load_site(path))[Split.TRAINING][0])[1].voxels
    for label in tmp_path.glob("*_seg.png"):
        Image.fromarray(np.asarray(Image.open(label)) > 0).save(label)
        assert Image.open(label).mode == "1"
    np.testing.assert_array_equal(read_pair(list_cases(load_site(path))[Split.TRAINING][0])[1].voxels, expected)

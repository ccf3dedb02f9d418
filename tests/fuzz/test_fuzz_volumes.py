import gzip
import io
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fedgin.data.datalist import Case, Split
from fedgin.data.site import Modality, PngSlices
from fedgin.data.volumes import read_pair
from tests.fuzz.mutations import PRIVATE, explains, fuzz, raw

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
HEADER = 352


def nifti() -> bytes:
    return bytes(nibabel.Nifti1Image(np.eye(4, dtype=np.uint8)[:, :, None], np.eye(4)).to_bytes())


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def make_case(folder: Path, ending: str) -> Case:
    image, label = folder / f"{PRIVATE}{ending}", folder / f"{PRIVATE}-seg{ending}"
    label.write_bytes(png() if ending == ".png" else nifti())
    return Case("a", Modality.MR, Split.TRAINING, 1, 1, image, label, {"liver": 1}, PngSlices(pixel_mm=1.0))


@st.composite
def overwritten(draw: st.DrawFn, content: bytes, *, upto: int) -> bytes:
    """Draw a file with one to four runs of its first bytes overwritten: sizes, types and scales become any number."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, upto - 1))
        new = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff\x7f", b"\xff" * 4, b"\0\0\x80\x7f"]))
        data[start : start + len(new)] = new
    return bytes(data)


niftis = overwritten(nifti(), upto=HEADER) | st.integers(0, HEADER).map(lambda end: nifti()[:end]) | raw


@fuzz("nifti")
@given(content=niftis, packed=st.booleans(), role=st.sampled_from(["image", "label"]))
def test_a_nifti_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, packed: bool, role: str
) -> None:
    case = make_case(tmp_path_factory.getbasetemp(), ".nii.gz" if packed else ".nii")
    case.image.write_bytes(case.label.read_bytes())
    path = case.image if role == "image" else case.label
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    explains(lambda: read_pair(case))


@fuzz("png")
@given(content=overwritten(png(), upto=len(png())) | st.integers(0, len(png())).map(lambda end: png()[:end]) | raw)
def test_a_png_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    case = make_case(tmp_path_factory.getbasetemp(), ".png")
    case.image.write_bytes(content)
    explains(lambda: read_pair(case))

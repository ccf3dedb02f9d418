"""How large and how bright body and organs are, of a case whose boxes are known."""

from pathlib import Path

import numpy as np
import pytest

from fedgin.data.datalist import Split, list_cases
from fedgin.data.site import load_site
from fedgin.data.validation.anatomy import measure_anatomy
from fedgin.data.validation.facts import Anatomy
from fedgin.data.volumes import Volume, read_pair
from tests.data.validation.small_site import LABELS, SmallSite


def anatomy(folder: Path, modality: str, gain: float = 1.0) -> Anatomy:
    site = SmallSite(folder, modality=modality)
    image, label = read_pair(list_cases(load_site(site.save()))[Split.TRAINING][0])
    bright = Volume(gain * np.asarray(image.voxels), image.affine)
    return measure_anatomy(bright, label, LABELS, hounsfield=modality == "CT")


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_boxes_are_measured_in_mm_along_the_patient(tmp_path: Path, modality: str) -> None:
    """The drawn MR has so much noise around the body that it is taken for some of it."""
    found = anatomy(tmp_path, modality)
    assert found.body_mm == (160.0, 128.0, 60.0) or modality == "MR"
    assert found.organ_mm["liver"] == (56.0, 56.0, 30.0)
    assert found.organ_mm["spleen"] == (32.0, 40.0, 20.0)


def test_only_a_ct_has_hounsfield_units(tmp_path: Path) -> None:
    """The organs of the drawn CT have 50 to 100 HU, the liver, the largest, 50 to 70."""
    hu = anatomy(tmp_path / "ct", "CT").organ_hu
    assert 50 <= hu[0] <= hu[len(hu) // 2] <= 70 <= hu[-1] < 100
    assert anatomy(tmp_path / "mr", "MR").organ_hu == ()


def test_how_bright_an_organ_is_does_not_depend_on_the_gain_of_an_mr(tmp_path: Path) -> None:
    plain, loud = (anatomy(tmp_path / f"{gain}", "MR", gain).organ_brightness for gain in (1.0, 37.0))
    assert plain.keys() == LABELS.keys()
    assert plain == pytest.approx(loud)
    assert plain["liver"] < plain["left_kidney"]

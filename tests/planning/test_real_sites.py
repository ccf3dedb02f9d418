"""A plan for real CT and real MR."""

import json
from pathlib import Path
from typing import Any

from fedgin.data.importers.label_ids import BTCV_IDS, CHAOS_IDS
from fedgin.data.importers.paired_files import PairedFolder, write_paired_site
from fedgin.data.site import Modality, load_site
from fedgin.data.validation import validate_site
from fedgin.data.validation.fingerprint import build_fingerprint
from fedgin.planning.fingerprints import read_fingerprints
from fedgin.planning.plan import Wishes, make_plan
from tests.real_data import real_data


def fingerprint_of(folder: Path, modality: Modality, name: str, ids: dict[str, int]) -> dict[str, Any]:
    """Validate three training cases, and no other."""
    source = PairedFolder(modality, ids, f"{modality.lower()}_*.nii.gz", training=3, validation=1)
    write_paired_site(folder, source, real_data(name), seed=1)
    datalist = json.loads((folder / "datalist.json").read_text())
    (folder / "datalist.json").write_text(json.dumps(datalist | {"validation": [], "test": []}))
    return build_fingerprint(validate_site(load_site(folder / "site.yaml")), bytes(32))


def test_ct_and_mr_of_the_abdomen_share_their_organs_and_volumes_of_thick_slices(tmp_path: Path) -> None:
    ct = fingerprint_of(tmp_path / "ct", Modality.CT, "abdomen_ct", BTCV_IDS)
    mr = fingerprint_of(tmp_path / "mr", Modality.MR, "abdomen_mr", CHAOS_IDS)
    planned = make_plan("abdomen", read_fingerprints([("ct", ct), ("mr", mr)]), Wishes())
    experiment = planned.experiment
    assert experiment.organs == ["left_kidney", "liver", "right_kidney", "spleen"]
    assert experiment.spatial_dims == 3
    assert isinstance(experiment.preprocessing.spacing_mm, tuple)
    x, y, z = experiment.preprocessing.spacing_mm
    assert x == y
    assert (1.0 <= x <= 1.7, 2.5 <= z <= 7.7) == (True, True)
    low, high = experiment.preprocessing.ct_window_hu
    assert (low, 150 <= high <= 275) == (-125.0, True)
    assert experiment.network.params["kernel_sizes"][0] == [1, 3, 3], "slices are thick"
    assert [line for line in planned.warnings if "its voxels measure 7.7 mm from inferior to superior" in line]

"""The third site of the abdomen, laid out over real slices of which the pancreas alone is labelled."""

from pathlib import Path

import numpy as np

from fedgin.data.datalist import list_cases
from fedgin.data.importers.paired_files import write_paired_site
from fedgin.data.site import load_site
from fedgin.data.volumes import map_organs, read_label
from poc.real_sites import PANCREAS
from tests.real_data import real_data


def test_slices_of_the_pancreas_are_a_site_that_splits_by_patient_and_labels_it_alone(tmp_path: Path) -> None:
    path = write_paired_site(tmp_path / "mr-pancreas-site", PANCREAS, real_data("pancreas_mr_slices"), seed=42)
    contract = load_site(path)
    cases = list_cases(contract)
    assert contract.labels == {"pancreas": 1}
    assert sum(map(len, cases.values())) == 30
    assert [len({case.subject for case in members}) for members in cases.values()] == [14, 3, 5]
    images = [{case.image.name.split("_")[0] for case in members} for members in cases.values()]
    assert not images[0] & images[1] | images[0] & images[2] | images[1] & images[2], "no patient is in two splits"
    first = next(case for members in cases.values() for case in members)
    assert set(np.unique(map_organs(first, read_label(first), ["pancreas"]))) == {0, 1}

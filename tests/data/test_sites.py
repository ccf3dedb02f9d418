"""What is asked of several sites' contracts together."""

from pathlib import Path

import pytest

from fedgin.data.site import load_site
from fedgin.data.sites import check_labelled
from fedgin.errors import ConfigError
from tests.sites import write_site


def test_every_organ_that_no_site_labels_is_named_with_what_may_be_meant(tmp_path: Path) -> None:
    ids = ({"liver": 1, "kidney_left": 2}, {"liver": 4, "wbc_lesion": 5})
    contracts = [
        load_site(write_site(tmp_path / name, name, modality, labels=labels))
        for name, modality, labels in zip("ab", ("CT", "MR"), ids, strict=True)
    ]
    check_labelled(contracts, ["liver", "wbc_lesion"])
    with pytest.raises(ConfigError) as told:
        check_labelled(contracts, ["liver", "left_kidney", "pancreas"])
    assert str(told.value).startswith("no site labels 'left_kidney', 'pancreas'. Fix: did you mean 'kidney_left'? ")
    assert "the sites label kidney_left, liver, wbc_lesion; " in str(told.value)

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from fedgin.data.datalist import list_cases
from fedgin.data.site import Modality, SiteContract
from fedgin.data.validation.roster import check_roster, list_leniently
from tests.fuzz.mutations import PRIVATE, as_json, check_text, damaged, explains, fuzz, raw, spliced

pytestmark = pytest.mark.timeout(300)
DATALIST: dict[str, Any] = {
    "name": "Task03",
    "training": [
        {"image": f"{PRIVATE}/ct.nii.gz", "label": f"{PRIVATE}/seg.nii.gz", "patient": f"DOE^{PRIVATE}"},
        {"image": f"{PRIVATE}/ct2.nii.gz", "label": f"{PRIVATE}/seg2.nii.gz", "patient": f"ROE^{PRIVATE}"},
    ],
    "validation": [{"image": f"{PRIVATE}/mr.nii.gz", "label": f"{PRIVATE}/mr.nii.gz", "patient": f"POE^{PRIVATE}"}],
    "test": [],
}


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> SiteContract:
    root = tmp_path_factory.mktemp("data")
    (root / PRIVATE).mkdir()
    for name in ("ct", "seg", "ct2", "seg2", "mr"):
        (root / PRIVATE / f"{name}.nii.gz").touch()
    (root / "loop").symlink_to("loop")
    return SiteContract(
        site="a", modality=Modality.CT, data_root=root, datalist=root / "datalist.json", labels={"liver": 1}
    )


def read(contract: SiteContract) -> None:
    """Read the list as training does and as ``fedgin site validate`` does."""
    for finding in check_roster(list_leniently(contract)):
        check_text(finding.message)
    list_cases(contract)


@fuzz("datalist")
@given(content=damaged(DATALIST).map(as_json) | spliced(as_json(DATALIST)) | raw)
def test_a_datalist_is_read_or_refused(contract: SiteContract, content: bytes) -> None:
    contract.datalist.write_bytes(content)
    explains(lambda: read(contract))


@pytest.mark.parametrize(
    "entry",
    [{PRIVATE: 1}, {"image": "a", "label": "b", f"patient {PRIVATE}": 1}, {"image": {PRIVATE: 1}}, [PRIVATE], PRIVATE],
)
def test_a_patients_name_in_the_wrong_place_is_not_told(contract: SiteContract, entry: object) -> None:
    contract.datalist.write_bytes(as_json({"training": [entry], "validation": [entry]}))
    assert not explains(lambda: read(contract))


BOMBS = {
    "lists": b"[" * 1_000_000,
    "objects": b'{"training":' * 100_000,
    "digits": b'{"training": ' + b"9" * 100_000 + b"}",
    "twice": b'{"training": [], "training": []}',
    "surrogate": b'{"training": [{"image": "\\ud800", "label": "x"}]}',
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(contract: SiteContract, name: str) -> None:
    contract.datalist.write_bytes(BOMBS[name])
    assert not explains(lambda: read(contract))


def test_a_sparse_file_of_a_terabyte_is_refused(contract: SiteContract, tmp_path: Path) -> None:
    path = tmp_path / "datalist.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert not explains(lambda: read(contract.model_copy(update={"datalist": path})))

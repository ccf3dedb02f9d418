import json
from typing import Any

import pytest

from fedgin.errors import ConfigError
from fedgin.flare.jobs.meta import check_meta, check_record, make_meta
from tests.places import JOBS

OURS = json.loads((JOBS / "abdomen_fedgin" / "meta.json").read_text())
# As FLARE's server sends it to a site.
RECORD = OURS | {
    "job_id": "0f7a2a3c-2f5e-4a54-9d5c-6a3d3b0f9a11",
    "study": "default",
    "submitter_name": "lead@example.org",
    "submitter_org": "office",
    "submitter_role": "lead",
    "job_folder_name": "abdomen_fedgin",
    "submit_time": 1.0,
    "submit_time_iso": "2026-11-28T10:00:00+00:00",
    "start_time": "",
    "duration": "N/A",
    "data_storage_format": 2,
    "status": "SUBMITTED",
    "schedule_count": 1,
    "last_schedule_time": 1.0,
    "schedule_history": ["2026-11-28 10:00:00: scheduled"],
}
EXTRA: list[dict[str, Any]] = [
    {"launcher_spec": {"@ALL": {"docker": {"image": "evil"}}}},
    {"resource_spec": {"ct-a": {"num_of_gpus": 8}}},
    {"resource_spec": {"ct-a": {"docker": {"image": "evil"}}}},
    {"scope": "public"},
    {"mandatory_clients": ["ct-a"]},
    {"custom_props": {"a": 1}},
    {"stats_pool_config": {"a": {}}},
    {"edge_method": "x"},
    {"approvals": {}},
    {"content_location": "/etc"},
    {"result_location": "/etc"},
    {"byoc": True},
    {"flower_predeployed": True},
    {"_target_": "os.system"},
    {"min_clients": True},
    {"min_clients": "3"},
    {"name": None},
    {"deploy_map": {"app": ["@ALL"], "other": ["@ALL"]}},
    {"deploy_map": {"other": ["@ALL"]}},
    {"deploy_map": {"app": ["@all"]}},
    {"deploy_map": {"app": ["server"]}},
    {"deploy_map": {"app": ["a", "server"]}},
    {"deploy_map": {"app": ["server", "a", "a"]}},
    {"deploy_map": {"app": ["server", "@ALL"]}},
    {"deploy_map": {"app": ["server", "../a"]}},
    {"deploy_map": {"app": ["server", {"sites": ["a"]}]}},
    {"deploy_map": {"app": {"sites": ["a"]}}},
]


@pytest.mark.parametrize("extra", EXTRA, ids=str)
def test_a_record_that_asks_for_more_than_a_job_of_ours_is_refused(extra: dict[str, Any]) -> None:
    check_record(RECORD)
    with pytest.raises(ConfigError, match=r"^meta\.json: "):
        check_record(RECORD | extra)
    with pytest.raises(ConfigError, match=r"^meta\.json: "):
        check_meta(OURS | extra, OURS["name"], OURS["min_clients"])


@pytest.mark.parametrize("key", ["job_id", "study", "submitter_name", "status", "job_folder_name"])
def test_what_flare_writes_is_no_part_of_the_file(key: str) -> None:
    with pytest.raises(ConfigError, match=f"'{key}' does not belong there"):
        check_meta(OURS | {key: RECORD[key]}, OURS["name"], OURS["min_clients"])


@pytest.mark.parametrize("changed", [("other", 3), (OURS["name"], 2)])
def test_name_and_count_are_those_of_the_job(changed: tuple[str, int]) -> None:
    with pytest.raises(ConfigError, match="is not what the job's"):
        check_meta(OURS, *changed)


def test_sites_come_back_as_they_were_named() -> None:
    sites = ("b", "a-1", "c.d_e")
    assert check_meta(make_meta("x", 2, sites), "x", 2) == sites
    assert check_meta(make_meta("x", 2, ()), "x", 2) == ()

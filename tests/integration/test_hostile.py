"""A hostile server and a hostile site, with FLARE's processes; no allow-list keeps them from what they do."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fedgin.data.limits import Limits
from fedgin.flare.jobs.allow_list import resources
from fedgin.flare.jobs.job import Job, write_job
from fedgin.flare.run import simulation
from fedgin.flare.run.results import read_cross_site
from fedgin.flare.run.simulation import simulate, simulated_result
from tests.integration.hostile import ATTACKER, DAMAGES, VICTIM
from tests.integration.test_simulation import sites, stage
from tests.places import ROOT

pytestmark = pytest.mark.flare
LAST = "SRV_FL_global_model.pt"


FILTERS = [("server", "data", "train", "HostileServer"), ("client", "result", "train", "HostileSite")]


def with_filters(job: Job, filters: Sequence[tuple[str, str, str, str]]) -> Job:
    """Put filters of hostile participants into a job's configuration, each for one task."""
    for name, kind, task, tail in filters:
        path = job.folder / "app" / "config" / f"config_fed_{name}.json"
        values = json.loads(path.read_text())
        made = [{"path": f"tests.integration.hostile.{tail}", "args": {}}]
        path.write_text(json.dumps(values | {f"task_{kind}_filters": [{"tasks": [task], "filters": made}]}))
    return job


def attack(folder: Path, rounds: int, filters: Sequence[tuple[str, str, str, str]]) -> Path:
    """Return the workspace of a job with two sites, of which the server needs one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "resources", lambda: resources() | {"class_allow_list": ["*"]})
        patch.setenv("PYTHONPATH", str(ROOT))
        staged = stage(folder, rounds=rounds, count=2)
        job = with_filters(write_job(replace(staged, min_clients=1), folder / "lenient"), filters)
        contracts = sites(folder / "sites", [ATTACKER, VICTIM])
        contracts[VICTIM] = contracts[VICTIM].model_copy(update={"limits": Limits(parameters=50_000)})
        simulate(job, contracts, folder / "flare")
    return folder / "flare"


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return attack(tmp_path_factory.mktemp("hostile"), len(DAMAGES), FILTERS)


def test_answers_that_are_none_take_the_final_evaluation_from_nobody_else(tmp_path: Path) -> None:
    result = simulated_result(attack(tmp_path, 1, [("client", "result", "validate", "HostileAnswers")]))
    found = read_cross_site(result.cross_site)
    assert found.keys() == {ATTACKER, VICTIM}
    assert list(found[ATTACKER].values()) == [{"b'x'": 1.0}]
    assert found[VICTIM].keys() == {LAST, ATTACKER, VICTIM}
    assert result.measurers == {VICTIM}


def test_a_site_refuses_each_damaged_model_with_its_reason_and_takes_part_in_the_next_round(attacked: Path) -> None:
    entry = "entry 'bottleneck.conv1.conv.weight'"
    reasons = {
        "all NaN": f"{entry} holds NaN or infinity",
        "too large for float32": f"{entry} holds NaN or infinity",
        "huge": "the training loss is not finite",
        "another shape": f"{entry} has shape [15, 8, 3, 3], the network needs [16, 8, 3, 3]",
        "an extra entry": "entry '../../extra' does not belong to the network",
        "8 MB too much": "the model was not fetched: it is damaged, or larger than 'limits' of site.yaml allow",
        "a missing entry": f"{entry} is missing",
    }
    rounds = simulated_result(attacked).participation
    seen = {
        name: absence.reason
        for name, done in zip(DAMAGES, rounds, strict=True)
        for absence in done.absent
        if absence.site == VICTIM
    }
    assert seen.keys() == reasons.keys()
    assert all(reasons[name] in seen[name] for name in reasons), seen
    assert [VICTIM in done.contributed for done in rounds] == [name not in reasons for name in DAMAGES]


def test_an_update_that_is_64_mb_too_large_is_refused_and_its_arrays_are_not_fetched(attacked: Path) -> None:
    rounds = simulated_result(attacked).participation
    assert [ATTACKER in done.contributed for done in rounds] == [False] + [True] * (len(DAMAGES) - 1)
    assert "it was not fetched" in rounds[0].refused[0].reason
    log = (attacked.parent / "flare.log").read_text(errors="replace")
    told = r"the arrays of a message of ct-a\S* were not fetched: they have more than the [\d,]+ values"
    assert len(re.findall(told, log)) == 1

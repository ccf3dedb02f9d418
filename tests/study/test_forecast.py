"""What a dry run says of a study: exact numbers of steps, times that add up, and nothing written."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.data.datalist import Split
from fedgin.folders import FolderError, claimed_folder
from fedgin.study import probe as probe_module
from fedgin.study.arm_result import run_arm
from fedgin.study.forecast import ROUND_SECONDS, ArmForecast, forecast_arm, side_by_side
from fedgin.study.plan import ArmSpec, Regime, load_study
from fedgin.study.planned_arm import PlannedArm, StudySites
from fedgin.study.probe import Probe, SiteProbe, key_of
from fedgin.train.augmentation_settings import AugmentationSettings
from tests.study.test_planned_arm import settings
from tests.study.test_study import write

SITE = SiteProbe(check=0.0, score=10.0, test=100.0, cached=1_000)
MEASURED = Probe(start=0.0, step=1.0, sites={"a": SITE, "b": SITE}, memory=10**9, weights=10**6)


@pytest.fixture(name="found", scope="module")
def _found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PlannedArm]:
    """Two training cases, one for validation and one for tests at each of two sites; three rounds of two steps."""
    return settings(tmp_path_factory.mktemp("forecast"))


def arm(cores: int, seconds: float, memory: int = 1) -> ArmForecast:
    spec = ArmSpec(Regime.CENTRAL, "none", 1)
    return ArmForecast(spec, AugmentationSettings(), 1, cores, seconds, memory, 1, complete=False)


def test_an_arm_takes_the_time_of_its_steps_validations_and_tests(found: dict[str, PlannedArm]) -> None:
    alone = forecast_arm(found["mr_only-none-all-seed5"], MEASURED, 4)
    assert (alone.steps, alone.cores) == (3 * 2, 1)
    # Steps, the validation cases of both sites after each round, the test cases of both sites.
    assert alone.seconds == 3 * 2 * 1.0 + 3 * 2 * 10.0 + 2 * 100.0
    central = forecast_arm(found["central-none-all-seed5"], MEASURED, 4)
    assert central.seconds == alone.seconds + 3 * 2 * 1.0


def test_the_start_and_the_look_at_each_prepared_case_are_counted(found: dict[str, PlannedArm]) -> None:
    setting = found["mr_only-none-all-seed5"]
    plain = forecast_arm(setting, MEASURED, 1).seconds
    slow = replace(MEASURED, start=7.0, sites=dict.fromkeys("ab", replace(SITE, check=0.5)))
    cases = sum(len(site.cases[split]) for site in setting.sites.values() for split in Split)
    assert forecast_arm(setting, slow, 1).seconds == plain + 7.0 + 0.5 * cases


def test_sites_of_a_federation_compute_side_by_side_where_there_are_cores(found: dict[str, PlannedArm]) -> None:
    setting = found["federated-none-all-seed5"]
    two, one = (forecast_arm(setting, MEASURED, cores) for cores in (2, 1))
    assert (two.cores, one.cores) == (2, 1)
    # A site: steps, validations of each round and of two models at the end, tests of these and of both sites' own.
    site = 3 * 2 * 1.0 + (3 + 2) * 10.0 + (2 + 2) * 10.0
    assert one.seconds - two.seconds == pytest.approx(site)
    assert two.seconds > 3 * ROUND_SECONDS + site + 2 * 100.0
    assert two.memory > 3 * MEASURED.memory


def test_arms_are_laid_out_as_the_study_starts_them() -> None:
    assert side_by_side([arm(1, 10.0), arm(1, 4.0), arm(1, 5.0)], 2) == (10.0, 2)
    assert side_by_side([arm(2, 3.0, memory=7), arm(1, 2.0)], 2) == (5.0, 7)
    # A small one starts before a large one that does not fit yet.
    assert side_by_side([arm(1, 4.0), arm(2, 3.0), arm(1, 4.0)], 2) == (7.0, 2)
    assert side_by_side([], 2) == (0.0, 0)


def test_methods_are_probed_each_and_seeds_and_rates_are_not(found: dict[str, PlannedArm]) -> None:
    experiment = found["central-none-all-seed5"].arm.experiment
    same = experiment.model_copy(
        update={
            "seed": 7,
            "training": experiment.training.model_copy(update={"local_steps": 9, "learning_rate": 0.1}),
        }
    )
    assert key_of(same) == key_of(experiment)
    assert key_of(experiment) != key_of(found["central-gin-all-seed5"].arm.experiment)
    larger = experiment.training.model_copy(update={"batch_size": 9})
    assert key_of(experiment.model_copy(update={"training": larger})) != key_of(experiment)


def test_a_dry_run_probes_and_prints_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "_time_start", lambda: 5.0)  # a process that imports everything
    source, out = write(tmp_path, methods={"gin": {"augmentation": {"name": "gin", "quality": True}}}), tmp_path / "out"
    before = sorted(tmp_path.rglob("*"))
    command = ["study", str(source), "--out", str(out), "--cores", "2", "--dry-run"]
    found = CliRunner().invoke(app, command, env={"COLUMNS": "120"})
    assert found.exit_code == 0, found.output
    for name, steps in (("mr_only-none-all-seed1", 4), ("central-none-all-seed1", 8), ("federated-gin-all-seed1", 8)):
        line = next(line for line in found.output.splitlines() if name in line)
        assert f"│ {steps} " in line
    assert '│ gin    │ gin {"quality": true}' in found.output
    assert "│ none   │ none, its defaults" in found.output
    for said in ("All arms: about ", " on 2 cores", "Before that: at most ", "Memory: about ", "Disk: about "):
        assert said in found.output
    assert sorted(tmp_path.rglob("*")) == before
    wrong = CliRunner().invoke(app, [*command, "--only", "central-none-all-seed2"])
    assert "did you mean 'central-none-all-seed1'?" in str(wrong.exception)


def test_a_dry_run_keeps_what_the_study_keeps_and_refuses_what_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "_time_start", lambda: 5.0)
    blocks = [{"regimes": ["mr_only"], "methods": ["none"], "seeds": [1]}]
    source, out = write(tmp_path, blocks=blocks), tmp_path / "out"
    settings = StudySites(load_study(source), claimed_folder(out, "a study"))
    setting = settings.setting(settings.arms()[0])
    run_arm(setting.arm, setting.sites, out / "arms", lambda _arm, _point: None)
    for site in setting.sites.values():  # the dry run prepares nothing anew to find out
        shutil.rmtree(site.contract.cache_dir)
    files = sorted(out.rglob("*"))
    command = ["study", str(source), "--out", str(out), "--cores", "2"]
    found = CliRunner().invoke(app, [*command, "--dry-run"], env={"COLUMNS": "120"})
    assert found.exit_code == 0, found.output
    assert "complete" in found.output
    assert "All arms: about 0 s on 2 cores" in found.output
    assert not any(site.contract.cache_dir.exists() for site in setting.sites.values())

    write(tmp_path, blocks=blocks, rounds=3)
    for options in (["--dry-run"], []):
        refused = CliRunner().invoke(app, [*command, *options])
        assert isinstance(refused.exception, FolderError)
        assert refused.exception.problem == f"{setting.home} holds results of other settings or data"
    assert sorted(out.rglob("*")) == files, "the result is kept"

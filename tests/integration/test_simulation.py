"""Real FLARE processes: a server and three sites in the simulator."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.data.privacy import Privacy
from fedgin.data.site import SiteContract, load_site
from fedgin.deploy.bundle import read_model, write_bundle
from fedgin.errors import ConfigError
from fedgin.files import hash_file
from fedgin.flare.jobs.job import Job, load_job, stage_job, write_job
from fedgin.flare.organ_table import OrganTable
from fedgin.flare.run.job_provenance import describe_job
from fedgin.flare.run.results import RoundMetrics, RunResult, read_cross_site
from fedgin.flare.run.simulation import SimulationError, session_folder, simulate
from fedgin.flare.server.model import initial_network
from fedgin.folders import Mark, read_mark
from fedgin.train.checkpoint import averaged_weights, load_checkpoint
from fedgin.train.site.session import SiteSession
from fedgin.train.site.update import LocalUpdate
from tests.integration.processes import processes_in
from tests.places import JOBS
from tests.sites import tiny_experiment, write_site

MODALITIES = {"ct-a": "CT", "ct-b": "CT", "mr-a": "MR"}
CASES = {"ct-a": 3, "ct-b": 1, "mr-a": 1}

COUNTS = {name: {"liver": count, "spleen": count} for name, count in {"ct-a": "3", "ct-b": "<3", "mr-a": "<3"}.items()}

pytestmark = pytest.mark.flare


def sites(folder: Path, names: Sequence[str] = tuple(MODALITIES), validation: int = 1) -> dict[str, SiteContract]:
    """Write sites; ``validation`` is the number of cases that MR sites score in each round."""
    contracts = {}
    for number, name in enumerate(names):
        counts = (CASES[name], validation if MODALITIES[name] == "MR" else 1, 1)
        contracts[name] = load_site(write_site(folder / name, name, MODALITIES[name], counts=counts, seed=10 * number))
    return contracts


def stage(folder: Path, rounds: int, count: int = 3, normalisation: str = "instance") -> Job:
    tiny = tiny_experiment().model_dump(mode="json", include={"organs", "preprocessing", "training"})
    # DynUNet has no bias before a normalisation; such a bias has no gradient but rounding, which Adam blows up.
    tiny["network"] = {"name": "dynunet", "normalisation": normalisation, "params": {"channels": [4, 8, 16]}}
    tiny["augmentation"] = {"quality": True}
    job = load_job(JOBS / "abdomen_fedgin")
    return stage_job(job, folder / "job", sites=count, rounds=rounds, changes=tiny)


def shares(names: Sequence[str]) -> dict[str, float]:
    """Give each modality half of the weight and split it by training cases, which have equally many slices."""
    total = {kind: sum(CASES[name] for name in names if MODALITIES[name] == kind) for kind in ("CT", "MR")}
    return {name: 0.5 * CASES[name] / total[MODALITIES[name]] for name in names}


def by_hand(job: Job, contracts: Mapping[str, SiteContract], folder: Path) -> dict[str, Tensor]:
    """Do the federation's rounds without FLARE, with the average written out."""
    path = job.folder / "app" / "config" / "experiment.yaml"
    weights = averaged_weights(initial_network(str(path), str(job.folder.parent)))
    sessions = {name: SiteSession(job.experiment, contract, folder / name) for name, contract in contracts.items()}
    for number in range(job.rounds):
        updates = {
            name: session.train(weights, number, job.rounds, stop=lambda: False) for name, session in sessions.items()
        }
        share = shares(list(contracts))
        weights = {key: value + mean_difference(key, updates, share) for key, value in weights.items()}
    return weights


def mean_difference(key: str, updates: Mapping[str, LocalUpdate[Tensor]], share: Mapping[str, float]) -> Tensor:
    """Average an entry over the sites that sent it, in float32 whatever they sent."""
    sent = {
        name: share[name] * update.difference[key].float()
        for name, update in updates.items()
        if key in update.difference
    }
    return torch.stack(list(sent.values())).sum(0) / sum(share[name] for name in sent)


def check_result(
    result: RunResult, job: Job, contracts: Mapping[str, SiteContract], folder: Path, atol: float = 1e-5
) -> None:
    expected = by_hand(job, contracts, folder)
    found = load_checkpoint(result.last_model)["model"]
    # BatchNorm's counters are in the server's file, but nobody sends them.
    assert {name for name, value in found.items() if value.is_floating_point()} == set(expected)
    for key, value in expected.items():
        # FLARE adds in another order; Adam makes the last digits larger. A step moves a weight by about 3e-3.
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=atol)


@dataclass(frozen=True)
class Trained:
    """Two rounds of three sites."""

    folder: Path
    contracts: dict[str, SiteContract]
    job: Job
    result: RunResult
    seen: list[RoundMetrics]
    tables: list[OrganTable]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    contracts, job = sites(folder / "sites"), stage(folder, rounds=2)
    seen: list[RoundMetrics] = []
    tables: list[OrganTable] = []
    result = simulate(job, contracts, folder / "flare", on_round=seen.append, on_organs=tables.append)
    return Trained(folder, contracts, job, result, seen, tables)


def test_two_rounds_of_three_sites_equal_the_closed_form(trained: Trained, tmp_path: Path) -> None:
    contracts, job, result, seen = trained.contracts, trained.job, trained.result, trained.seen
    assert trained.tables == [OrganTable(["liver", "spleen"], {name: COUNTS[name] for name in MODALITIES}, [])]
    assert [metrics.number for metrics in seen] == [0, 1]
    assert all(set(metrics.sites) == set(MODALITIES) for metrics in seen)
    assert all("val_dice_liver" in values for metrics in seen for values in metrics.sites.values())
    assert all(0.0 <= values["augmentation_refused"] < 1.0 for metrics in seen for values in metrics.sites.values())
    check_result(result, job, contracts, tmp_path / "by-hand")
    # Else a run that was cut off could not start again in its folder: FLARE empties it, the mark included.
    assert read_mark(trained.folder / "flare") == Mark(holds="a simulation", files=None)
    cross_site = json.loads(result.cross_site.read_text())
    assert set(cross_site) == set(MODALITIES)
    assert {"SRV_FL_global_model.pt", "SRV_best_FL_global_model.pt", *MODALITIES} == set(cross_site["mr-a"])


def test_a_bundle_scores_at_the_sites_what_its_run_s_final_evaluation_measured(
    trained: Trained, tmp_path: Path
) -> None:
    """Of ct-b nothing is told: it has one test patient, and does not share its cases as the others do."""
    provenance = describe_job(trained.job, "run", trained.result)
    write_bundle(tmp_path / "bundle", provenance, read_model(trained.result.folder, provenance))
    for site in ("ct-a", "mr-a"):
        with (trained.folder / "sites" / site / "site.yaml").open("a") as file:
            file.write("share_case_scores: true\n")
    command = ["simulate", str(JOBS / "evaluate"), "--bundle", str(tmp_path / "bundle")]
    command += ["--sites", str(trained.folder / "sites"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.exception
    scores, measured = RunResult(tmp_path / "out").scores, read_cross_site(trained.result.cross_site)
    assert scores.keys() == set(MODALITIES)
    for site in ("ct-a", "mr-a"):
        metrics = measured[site][f"SRV_{trained.result.chosen_model.name}"]
        for organ in ("liver", "spleen"):
            assert scores[site].organs[organ].dice.value == pytest.approx(metrics[f"test_dice_{organ}"], abs=1e-6)
        assert [row.patient for row in scores[site].rows or ()] == [1, 1]
    assert (scores["ct-b"].patients, scores["ct-b"].organs, scores["ct-b"].rows) == ("<3", {}, None)
    dice = scores["mr-a"].in_words()
    assert f"site mr-a has scored the model: {dice}" in done.output
    assert "ct-b: liver, spleen: withheld, shown by too few patients" in done.output
    assert "ct-b: liver, spleen: withheld" in (tmp_path / "out" / "report.html").read_text()


def test_a_site_whose_process_ends_between_rounds_is_not_lost(tmp_path: Path) -> None:
    """FLARE's simulator alone would wait for it without end."""
    contracts, job = sites(tmp_path / "sites", ["ct-a", "mr-a"]), stage(tmp_path, rounds=2, count=2)
    killed: list[int] = []

    def kill(metrics: RoundMetrics) -> None:
        for process in processes_in(tmp_path / "flare" / "mr-a") if metrics.number == 0 else ():
            if process.net_connections("tcp4"):  # FLARE's; what trains has none
                process.kill()
                killed.append(process.pid)

    result = simulate(job, contracts, tmp_path / "flare", on_round=kill)
    assert len(killed) == 1
    check_result(result, job, contracts, tmp_path / "by-hand")


def test_branches_of_each_modality_equal_the_closed_form(tmp_path: Path) -> None:
    contracts, job = sites(tmp_path / "sites"), stage(tmp_path, rounds=2, normalisation="dsbn")
    result = simulate(job, contracts, tmp_path / "flare")
    # Here one unit in the last place of the received model changes a few weights of the second round by 2e-5.
    check_result(result, job, contracts, tmp_path / "by-hand", atol=1e-4)


def test_the_server_s_optimiser_works_in_flare_and_starts_from_a_file(tmp_path: Path) -> None:
    """With rate 1 and without momentum it averages. The file has the weights of another seed, but for a layer."""
    contracts, job = sites(tmp_path / "sites", ["ct-a", "mr-a"]), stage(tmp_path, rounds=2, count=2)
    other = job.experiment.model_copy(update={"seed": 5}).initial_network()
    weights = {name: value for name, value in averaged_weights(other).items() if not name.startswith("output_block.")}
    safetensors.torch.save_file(weights, tmp_path / "other.safetensors")
    changes = {
        "federation": {"algorithm": {"name": "fedavgm", "momentum": 0.0}},
        "network": {
            "pretrained": {
                "file": "other.safetensors",
                "sha256": hash_file(tmp_path / "other.safetensors"),
                "leave_out": ["output_block"],
            }
        },
    }
    averaged = stage_job(job, tmp_path / "averaged", sites=2, rounds=2, changes=changes)
    with pytest.raises(ConfigError, match=r"starts from 'other\.safetensors', and no folder of models is given"):
        simulate(averaged, contracts, tmp_path / "flare")
    result = simulate(averaged, contracts, tmp_path / "flare", models=tmp_path)
    check_result(result, averaged, contracts, tmp_path / "by-hand")


def test_fewer_threads_than_sites_give_the_same_model(tmp_path: Path) -> None:
    """FLARE then starts a new process for each task; all that must last is on disk, what float16 left over, too."""
    contracts, job = sites(tmp_path / "sites", ["ct-a", "mr-a"]), stage(tmp_path, rounds=2, count=2)
    halved = stage_job(job, tmp_path / "halved", sites=2, rounds=2, changes={"federation": {"transfer": "float16"}})
    result = simulate(halved, contracts, tmp_path / "flare", threads=1)
    # A last digit of float32 can be one of float16, which is a thousandth of a step.
    check_result(result, halved, contracts, tmp_path / "by-hand", atol=1e-4)
    for site in contracts:
        assert (session_folder(tmp_path / "flare", site) / "rounded_off.pt").is_file()


def test_a_site_with_bad_data_ends_the_job_with_its_reason(tmp_path: Path) -> None:
    contracts, job = sites(tmp_path / "sites"), stage(tmp_path, rounds=1)
    (tmp_path / "sites" / "mr-a" / "case0.nii.gz").write_bytes(b"damaged")
    with pytest.raises(SimulationError) as caught:
        simulate(job, contracts, tmp_path / "flare")
    assert "site mr-a, training case 1: the image file is not readable as NIfTI" in str(caught.value)


def test_an_organ_that_no_site_labels_ends_the_job_before_its_first_round(tmp_path: Path) -> None:
    contracts, job = sites(tmp_path / "sites", ["mr-a"]), stage(tmp_path, rounds=1, count=1)
    job = stage_job(job, tmp_path / "more", sites=1, rounds=1, changes={"organs": ["liver", "islet_graft"]})
    with pytest.raises(SimulationError) as caught:
        simulate(job, contracts, tmp_path / "flare")
    assert "no site labels 'islet_graft'. Fix: write organs in the job as its sites do" in str(caught.value)
    result = RunResult(tmp_path / "flare" / "server" / "simulate_job")
    assert result.organs == OrganTable(["liver", "islet_graft"], {"mr-a": {"liver": "<3"}}, [])
    assert (result.participation, result.rounds) == ([], [])


def test_a_refused_update_ends_a_job_that_needs_it_and_its_site_is_told(tmp_path: Path) -> None:
    contracts, job = sites(tmp_path / "sites"), stage(tmp_path, rounds=1)
    changes = {"federation": {"max_samples_per_site": 17}}  # ct-a has three cases of six slices
    job = stage_job(job, tmp_path / "bounded", sites=3, rounds=1, changes=changes)
    with pytest.raises(SimulationError) as caught:
        simulate(job, contracts, tmp_path / "flare")
    reason = "it claims 18.0 samples, allowed is 1 to 17"
    assert f"the update of site ct-a is refused: {reason}" in str(caught.value)
    result = RunResult(tmp_path / "flare" / "server" / "simulate_job")
    (done,) = result.participation
    assert [absence.site for absence in done.absent] == ["ct-a"]
    assert sorted(done.contributed) == ["ct-b", "mr-a"]
    assert f"round 1 has 2 of 3 updates (ct-a: {reason}" in result.fault(job, list(contracts))
    logs = "".join(path.read_text(errors="replace") for path in (tmp_path / "flare" / "ct-a").rglob("log.txt"))
    assert f"round 1: the update was refused: {reason}" in logs


def test_a_layer_that_a_site_withholds_is_averaged_over_the_others(tmp_path: Path) -> None:
    """The job says nothing of it: withholding is the site's own choice."""
    contracts, job = sites(tmp_path / "sites", ["ct-a", "mr-a"]), stage(tmp_path, rounds=2, count=2)
    privacy = Privacy(exclude_layers=("input_block",))
    contracts["ct-a"] = contracts["ct-a"].model_copy(update={"privacy": privacy})
    result = simulate(job, contracts, tmp_path / "flare")
    check_result(result, job, contracts, tmp_path / "by-hand")


def test_a_job_that_needs_two_of_three_sites_waits_for_the_third_when_one_is_refused(tmp_path: Path) -> None:
    """FLARE counts a refused answer among those that it needs; the wait that the jobs state is for the slower sites."""
    contracts, job = sites(tmp_path / "sites", validation=12), stage(tmp_path, rounds=2)
    changes = {"federation": {"max_samples_per_site": 17}}  # ct-a has three cases of six slices
    staged = stage_job(job, tmp_path / "staged", sites=3, rounds=2, changes=changes)
    job = write_job(replace(staged, min_clients=2), tmp_path / "lenient")
    result = simulate(job, contracts, tmp_path / "flare")
    assert [sorted(done.contributed) for done in result.participation] == [["ct-b", "mr-a"]] * 2
    assert [[absence.site for absence in done.refused] for done in result.participation] == [["ct-a"]] * 2
    assert all(done.aggregated for done in result.participation)

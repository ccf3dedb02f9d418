"""Every kind of page, of small sites: what a reader opens, to be looked at and measured."""

from dataclasses import dataclass
from pathlib import Path

import nibabel
import yaml
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.data.datalist import Split
from fedgin.data.site import Modality, load_site
from fedgin.data.validation import validate_site
from fedgin.data.validation.page import write_page as write_validation_page
from fedgin.flare.jobs.job import load_job, stage_job
from fedgin.flare.protocol import DICE
from fedgin.flare.run.results import RoundMetrics
from fedgin.report.comparison_page import write_comparison
from fedgin.report.job_page import write_live_report, write_run_report
from fedgin.report.study_page import write_study
from fedgin.study.arm_result import ArmResult, Comparison, run_arm
from fedgin.study.plan import ArmSpec, load_study
from fedgin.study.planned_arm import StudySites
from tests.deploy.bundles import make_bundle
from tests.flare.run.test_results import lay_out, make_job
from tests.places import JOBS
from tests.sites import AFFINE, make_volume, tiny_experiment, write_site

MODELS = ("SRV_FL_global_model.pt", "SRV_best_FL_global_model.pt", "site-10", "site-2")


@dataclass(frozen=True)
class Pages:
    """The pages and what they were made of."""

    folder: Path
    comparison: Comparison
    study: list[tuple[ArmSpec, ArmResult]]

    def text(self, name: str) -> str:
        return (self.folder / f"{name}.html").read_text(encoding="utf-8")

    @property
    def paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.html"))


def write_pages(folder: Path) -> Pages:
    """Write a page of each kind, of jobs a whole, a failed and a running one; two arms train for one round."""
    data = folder / "data"
    for name, modality in (("site-10", "CT"), ("site-2", "MR")):
        write_site(data / "sites" / name, name, modality, seed=len(name))
    source, results = _study(data)
    comparison = _comparison(results, StudySites(load_study(source), data / "out"))
    write_study(source, results, data / "out").rename(folder / "study.html")
    write_comparison(data / "out" / "report.html", comparison).rename(folder / "comparison.html")
    result, job = lay_out(data / "run", [["a", "b"], ["a"]]), make_job(2, 1)
    write_run_report(folder / "job.html", job, "id-1", result)
    write_run_report(folder / "failed.html", job, "id-1", result, fault="job tiny: it ended as FINISHED:ABORTED")
    rounds = [RoundMetrics(number, {"a": {DICE: 0.3 + 0.1 * number}, "b": {DICE: 0.2}}) for number in range(2)]
    write_live_report(folder / "live.html", make_job(5), "id-1", rounds, ["RUNNING", "round 3 waits for b"])
    _predictions(data / "clinic").rename(folder / "prediction.html")
    contract = load_site(data / "sites" / "site-2" / "site.yaml")
    write_validation_page(folder / "validation.html", validate_site(contract))
    return Pages(folder, comparison, results)


def _predictions(folder: Path) -> Path:
    """Segment a CT, a file that is none, and an image whose name looks like markup."""
    make_bundle(folder)
    (folder / "in").mkdir()
    for name in ("ct", "<b>"):
        nibabel.save(nibabel.Nifti1Image(make_volume("CT", 0)[0], AFFINE), folder / "in" / f"{name}.nii.gz")
    (folder / "in" / "none.nii.gz").write_bytes(b"no image")
    command = ["predict", str(folder / "bundle"), str(folder / "in"), "--out", str(folder / "out")]
    assert CliRunner().invoke(app, command).exit_code == 1
    return folder / "out" / "report.html"


def _study(folder: Path) -> tuple[Path, list[tuple[ArmSpec, ArmResult]]]:
    tiny = tiny_experiment().model_dump(mode="json", include={"organs", "preprocessing", "network", "training"})
    stage_job(load_job(JOBS / "abdomen_fedgin"), folder / "job", sites=2, rounds=1, changes=tiny)
    blocks = [{"regimes": ["mr_only"], "methods": ["none", "gin"], "seeds": [1]}]
    values = {"name": "tiny", "title": "A <study>", "note": "N.", "sites": "sites", "job": "job", "rounds": 1}
    values["methods"] = {"gin": {"augmentation": {"name": "gin"}}}
    (folder / "study.yaml").write_text(yaml.safe_dump({**values, "blocks": blocks}))
    study = load_study(folder / "study.yaml")
    sites = StudySites(study, folder / "out")
    results = []
    for spec in study.arms():
        setting = sites.setting(spec)
        results.append((spec, run_arm(setting.arm, setting.sites, folder / "out" / "arms", lambda *_: None)))
    return folder / "study.yaml", results


def _comparison(results: list[tuple[ArmSpec, ArmResult]], sites: StudySites) -> Comparison:
    prepared = sites.setting(results[0][0]).sites
    assert all(site.cases[Split.TEST] for site in prepared.values())
    dice = {model: {"test_dice_mean": 0.1 * number} for number, model in enumerate(MODELS, start=1)}
    last = results[-1][1]
    federated = ArmResult(
        last.arm, last.scores, last.curve, last.model, {"site-10": dice, "site-2": dice}, resumed=True
    )
    assert {site.contract.modality for site in prepared.values()} == set(Modality)
    return Comparison("Title <x>", "A note.", prepared, [results[0][1], federated], 61.0)

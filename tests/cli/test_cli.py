import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedgin.cli.lazy import LazyGroup, function_of
from fedgin.cli.main import Verbs, app
from fedgin.cli.site import SiteVerbs
from fedgin.errors import ConfigError, FedginError
from fedgin.flare.jobs.job import load_job, stage_job
from tests.places import JOBS, ROOT
from tests.sites import tiny_experiment, write_site

VERBS = [*Verbs.summaries, *(f"site {verb}" for verb in SiteVerbs.summaries)]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    result = CliRunner().invoke(app, [*verb.split(), "--help"])
    assert result.exit_code == 0
    assert f"Example: fedgin {verb}" in " ".join(result.output.split())
    assert "<bool>" not in result.output, "a flag takes no value"


@pytest.mark.parametrize("group", [Verbs, SiteVerbs])
def test_the_list_of_verbs_says_what_their_own_help_begins_with(group: type[LazyGroup]) -> None:
    for verb, summary in group.summaries.items():
        function = function_of(f"{group.prefix}{verb}", verb)
        assert " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split()) == summary


def test_no_verb_is_missing_in_the_list() -> None:
    files = {path.stem for path in (ROOT / "custom" / "fedgin" / "cli").glob("[!_]*.py")}
    named = {*Verbs.summaries, *(f"site_{verb}" for verb in SiteVerbs.summaries)}
    helpers = {
        "evaluated_bundle",
        "evaluation_result",
        "fault",
        "findings",
        "follow_job",
        "forecast",
        "format",
        "interrupt",
        "live_page",
        "options",
        "remaining",
        "tables",
        "simulated_job",
    }
    assert files == named | helpers | {"main", "site", "lazy"}


def test_a_mistyped_verb_is_told_the_nearest() -> None:
    result = CliRunner().invoke(app, ["site", "docter"])
    assert result.exit_code == 2
    assert "No such command 'docter'. Did you mean 'doctor'?" in result.output


def tiny_job(folder: Path, **network: object) -> Path:
    tiny = tiny_experiment().model_dump(mode="json", include={"organs", "preprocessing", "network", "training"})
    tiny["network"] |= network
    return stage_job(load_job(JOBS / "abdomen_fedgin"), folder, sites=2, rounds=2, changes=tiny).folder


def test_train_alone_writes_weights_and_scores(tmp_path: Path) -> None:
    site, job = write_site(tmp_path / "a", "a", "MR"), tiny_job(tmp_path / "job")
    result = CliRunner().invoke(app, ["train", str(site), "--job", str(job), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "round 2/2" in result.output
    assert {"model.pt", "validation_scores.csv"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_a_run_that_starts_from_a_file_asks_for_its_folder_before_anything_else(tmp_path: Path) -> None:
    pretrained = {"file": "a.safetensors", "sha256": "0" * 64}
    site, job = write_site(tmp_path / "a", "a", "MR"), tiny_job(tmp_path / "job", pretrained=pretrained)
    train = ["train", str(site), "--job", str(job), "--out", str(tmp_path / "out")]
    write_site(tmp_path / "b", "b", "CT")
    simulate = ["simulate", str(job), "--sites", str(tmp_path), "--out", str(tmp_path / "out")]
    for command in (train, simulate):
        for models, said in (([], "give its folder with --models"), (["--models", str(tmp_path)], "are not there")):
            done = CliRunner().invoke(app, [*command, *models])
            assert isinstance(done.exception, FedginError)
            assert said in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_several_sites_are_trained_centrally(tmp_path: Path) -> None:
    paths = [str(write_site(tmp_path / name, name, kind)) for name, kind in (("a", "CT"), ("b", "MR"))]
    arguments = ["train", *paths, "--job", str(tiny_job(tmp_path / "job")), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    modalities = {
        line.split(",")[1] for line in (tmp_path / "out" / "validation_scores.csv").read_text().splitlines()[1:]
    }
    assert modalities == {"CT", "MR"}


def test_two_sites_of_one_name_are_not_trained_as_one(tmp_path: Path) -> None:
    paths = [str(write_site(tmp_path / folder, name, "CT")) for folder, name in (("a", "x"), ("b", "x"), ("c", "y"))]
    arguments = ["train", *paths, "--job", str(tiny_job(tmp_path / "job")), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, ConfigError)
    assert done.exception.problem == "more than one site is called x"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["nowhere.yaml", "[/].yaml"])  # the second would end a style that was never begun
def test_an_error_is_two_lines_and_code_2(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-c", "from fedgin.cli.main import run; run()", "train", name]
    done = subprocess.run(
        [*command, "--job", str(JOBS / "abdomen_fedgin"), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == f"Error FG-010: {name}: no such file"
    assert done.stderr.splitlines()[1].startswith("Fix:")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("words", "found"), [("fedgin ab", "abort"), ("fedgin run --min", "--min-sites")])
def test_a_shell_completes_verbs_and_options(words: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the script of ``fedgin --install-completion`` asks; the options are those of a verb that is imported late."""
    asked = {"_FEDGIN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = CliRunner().invoke(app, [], env=asked, prog_name="fedgin")
    assert done.output.split() == [found]


def test_each_example_of_a_verb_has_a_line_of_its_own() -> None:
    found = CliRunner().invoke(app, ["phantoms", "--help"], env={"COLUMNS": "200"}).output
    assert [line.count("Example:") for line in found.splitlines() if "Example:" in line] == [1, 1]

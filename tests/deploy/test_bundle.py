import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.regions import find_regions
from fedgin.data.site import Modality, load_site
from fedgin.data.validation import validate_site
from fedgin.data.validation.fingerprint import build_fingerprint
from fedgin.deploy.bundle import INFERENCE, METADATA, WEIGHTS, load_bundle
from fedgin.deploy.model_card import CARD_MD
from fedgin.deploy.predict import open_segmenter
from fedgin.errors import ConfigError, FedginError, WeightsError
from fedgin.folders import FolderError
from fedgin.train.checkpoint import averaged_weights, count_initial_weights, load_checkpoint, save_checkpoint
from fedgin.train.evaluate.evaluator import Segmentation, segment
from fedgin.train.experiment import Experiment
from fedgin.train.provenance import Participant
from tests.deploy.bundles import make_bundle, write_run
from tests.sites import tiny_experiment, tiny_volumes, write_site


def test_the_bundle_s_network_has_the_run_s_weights(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    found = averaged_weights(load_bundle(bundle.folder).network())
    expected = load_checkpoint(tmp_path / "run" / "model.pt", "model")["model"]
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_bundle_holds_no_code_and_no_pickle(tmp_path: Path) -> None:
    files = {path.relative_to(tmp_path / "bundle").as_posix() for path in make_bundle(tmp_path).folder.rglob("*.*")}
    assert files == {
        "configs/inference.json",
        "configs/metadata.json",
        "configs/provenance.json",
        "docs/README.md",
        "docs/model_card.html",
        "models/model.safetensors",
    }


def test_each_weight_is_packed_once_and_lies_in_the_bundle_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[int] = []
    save = safetensors.torch.save

    def counting(tensors: dict[str, torch.Tensor]) -> bytes:
        packed.append(sum(tensor.numel() for tensor in tensors.values()))
        return save(tensors)

    monkeypatch.setattr(safetensors.torch, "save", counting)
    base = tiny_experiment().model_dump(mode="json") | {"network": {"name": "dynunet"}}
    experiment = write_run(tmp_path / "run", experiment=Experiment.model_validate(base)).experiment
    command = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "bundle")]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert packed == [count_initial_weights(experiment)]
    assert (tmp_path / "bundle" / WEIGHTS).stat().st_size < 4 * packed[0] + 100_000


def test_metadata_say_what_monai_asks_for(tmp_path: Path) -> None:
    values = json.loads((make_bundle(tmp_path).folder / METADATA).read_text())
    assert values["network_data_format"]["outputs"]["pred"]["channel_def"] == {
        "0": "background",
        "1": "liver",
        "2": "left_kidney",
    }
    asked = {"version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors"}
    assert asked <= values.keys()
    assert "not a medical device" in values["intended_use"]


@pytest.mark.parametrize("text", ["", '{"version": "1"', "{}", "[]"])
def test_damaged_metadata_are_named(tmp_path: Path, text: str) -> None:
    bundle = make_bundle(tmp_path)
    (bundle.folder / METADATA).write_text(text)
    with pytest.raises(WeightsError, match=r"metadata\.json is missing or damaged"):
        bundle.network()


@pytest.mark.parametrize("damage", ["other weights", "cut off", "missing"])
def test_other_weights_than_the_bundle_was_made_with_are_refused(tmp_path: Path, damage: str) -> None:
    bundle = make_bundle(tmp_path)
    path = bundle.folder / WEIGHTS
    if damage == "other weights":
        weights = {name: value + 1.0 for name, value in safetensors.torch.load_file(path).items()}
        safetensors.torch.save_file(weights, path)
    elif damage == "cut off":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        path.unlink()
    with pytest.raises(WeightsError, match="get the bundle again"):
        load_bundle(bundle.folder).network()


def test_a_run_that_was_no_success_needs_its_fault_word_for_word(tmp_path: Path) -> None:
    write_run(tmp_path / "run", fault="2 of 3 rounds were completed")
    command = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "bundle")]
    for accepted in ([], ["--accept", "all is well"]):
        done = CliRunner().invoke(app, [*command, *accepted])
        assert isinstance(done.exception, ConfigError)
        assert "2 of 3 rounds were completed" in str(done.exception)
        assert not (tmp_path / "bundle").exists()
    done = CliRunner().invoke(app, [*command, "--accept", "2 of 3 rounds were completed"])
    assert done.exit_code == 0, done.output
    assert "2 of 3 rounds were completed" in (tmp_path / "bundle" / "docs" / "README.md").read_text()


def test_fingerprints_of_the_sites_say_what_images_a_federation_saw(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    paths: list[Path] = []
    for name, modality, counts in (("a", "CT", (4, 1, 1)), ("b", "CT", (4, 1, 1)), ("c", "MR", (2, 1, 1))):
        contract = load_site(write_site(tmp_path / name, name, modality, seed=len(paths), counts=counts))
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(build_fingerprint(validate_site(contract), b"key")))
    command = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "bundle")]
    options = [text for path in paths for text in ("--fingerprint", str(path))]
    done = CliRunner().invoke(app, [*command, *options])
    assert done.exit_code == 0, done.output
    [seen] = load_bundle(tmp_path / "bundle").provenance.appearances
    assert seen.modality is Modality.CT, "two MR patients are no group"
    shared = [json.loads(path.read_text())["intensity_percentiles"]["p50"] for path in paths[:2]]
    assert seen.grey["p50"] == (min(item["p25"] for item in shared), max(item["p75"] for item in shared))
    assert "| CT training images, the middle half | voxels" in (tmp_path / "bundle" / "docs" / "README.md").read_text()


@pytest.mark.parametrize("content", ["{}", "no JSON", None])
def test_what_is_no_fingerprint_is_refused(tmp_path: Path, content: str | None) -> None:
    write_run(tmp_path / "run")
    if content is not None:
        (tmp_path / "f.json").write_text(content)
    command = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "bundle")]
    done = CliRunner().invoke(app, [*command, "--fingerprint", str(tmp_path / "f.json")])
    assert isinstance(done.exception, FedginError)
    assert "fedgin site validate" in done.exception.fix
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.tex").write_text("mine")
    done = CliRunner().invoke(app, ["export", str(tmp_path / "run"), "--out", str(tmp_path / "bundle")])
    assert isinstance(done.exception, FolderError)
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["thesis.tex"]


def test_the_bundle_of_another_run_of_the_same_name_goes_when_asked_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    command = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "bundle")]
    for _ in range(2):  # its own bundle is replaced
        assert CliRunner().invoke(app, command).exit_code == 0
    first = load_bundle(tmp_path / "bundle").sha256

    weights = load_checkpoint(tmp_path / "run" / "model.pt", "model")["model"]
    save_checkpoint(tmp_path / "run" / "model.pt", {"model": {name: value * 2 for name, value in weights.items()}})
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, FolderError)
    assert f"bundle holds the bundle of mr_only-7, weights {first[:12]}" in refused.exception.problem
    assert load_bundle(tmp_path / "bundle").sha256 == first
    assert CliRunner().invoke(app, [*command, "--overwrite"]).exit_code == 0
    assert load_bundle(tmp_path / "bundle").sha256 != first


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(tmp_path), "--out", str(tmp_path / "bundle")])
    assert isinstance(done.exception, ConfigError)
    assert "holds no provenance.json" in str(done.exception)


def test_the_card_says_what_is_unknown_and_what_was_not_tested(tmp_path: Path) -> None:
    page = (make_bundle(tmp_path).folder / "docs" / "README.md").read_text()
    assert "| all | CT | mean of organs | test | 3 | 0.500 | 0.40 to 0.60 |" in page
    assert "| all | CT | liver | test | 3 | 0.700 | unknown |" in page
    assert "MR: no case was measured, and none was trained on" in page
    assert "no measured case shows: left kidney" in page
    assert "licence of the data and the weights | unknown" in page


def test_what_a_site_said_is_no_markdown_of_the_card(tmp_path: Path) -> None:
    """A fault quotes the causes of sites."""
    fault = "site c: <h2>Approved</h2> [for use](https://x.example)\n\n## Approval | `a` **b**"
    card = (make_bundle(tmp_path, fault=fault).folder / CARD_MD).read_text()
    assert r"site c: \<h2\>Approved\</h2\> \[for use\](https://x.example)" in card
    assert "## Approval" not in card.splitlines()
    assert r"## Approval \| \`a\` \*\*b\*\*" in card


def test_the_card_says_that_the_rounds_of_a_site_are_unknown(tmp_path: Path) -> None:
    participants = [Participant(site="site-2", modality=Modality.MR, training_cases=None, rounds=None)]
    card = (make_bundle(tmp_path, participants=participants).folder / CARD_MD).read_text()
    assert "| site-2 | MR | unknown | unknown |" in card


@pytest.mark.parametrize(("rounds", "said"), [(1, "1 round"), (2, "2 rounds")])
def test_the_card_counts_the_rounds(tmp_path: Path, rounds: int, said: str) -> None:
    card = (make_bundle(tmp_path, rounds=rounds).folder / CARD_MD).read_text()
    assert f"one site: 1 site, 3 training cases, {said}.\n" in card


def test_the_card_says_what_the_run_started_from(tmp_path: Path) -> None:
    def card(folder: Path, **network: object) -> str:
        experiment = tiny_experiment(network=tiny_experiment().network.model_dump() | network)
        return (make_bundle(folder, experiment=experiment).folder / CARD_MD).read_text()

    assert "| started from | random weights of the seed |" in card(tmp_path / "seed")
    pretrained = {"file": "earlier.safetensors", "sha256": "0" * 64, "leave_out": ["model.2"]}
    said = f"| started from | earlier.safetensors, SHA-256 {'0' * 64}; random: model.2 |"
    assert said in card(tmp_path / "file", pretrained=pretrained)


def test_the_runner_s_configuration_names_one_class_of_this_package(tmp_path: Path) -> None:
    values = json.loads((make_bundle(tmp_path).folder / INFERENCE).read_text())
    assert values["segmenter"]["_target_"] == "fedgin.deploy.predict.open_segmenter"


@pytest.mark.parametrize("kept", [[], ["left_kidney", "liver"]])
def test_a_bundle_of_volumes_says_so_and_segments_as_it_was_scored(tmp_path: Path, kept: list[str]) -> None:
    """What MONAI's runner calls writes, for an image of the site, the labels that the site's evaluator counts."""
    experiment = tiny_volumes(organs=["liver", "left_kidney"], postprocessing={"largest_region": kept})
    bundle = make_bundle(tmp_path, experiment=experiment)
    said = "of left kidney, liver" if kept else "of no organ"
    assert f"| largest region alone | {said} |" in (bundle.folder / CARD_MD).read_text()
    shown = json.loads((bundle.folder / METADATA).read_text())["network_data_format"]["inputs"]["image"]
    assert (shown["spatial_shape"], shown["is_patch_data"]) == ([16, 16, 16], True)
    assert "volumes of 10 x 10 x 5 mm voxels, in patches of 16 x 16 x 16" in (bundle.folder / CARD_MD).read_text()
    contract = load_site(write_site(tmp_path / "site", "site-1", "CT", labels={"liver": 1, "left_kidney": 2}))
    [case] = prepare_site(contract, bundle.experiment.preprocessing, bundle.experiment.organs).cases[Split.TEST]
    scored: list[Segmentation] = []
    segment(bundle.network(), [case], torch.device("cpu"), scored.append, in_one_piece=experiment.in_one_piece)
    written = open_segmenter(bundle.folder).write_nifti(str(case.case.image), str(tmp_path))
    assert np.array_equal(np.asarray(nibabel.load(written).dataobj), scored[0].predicted)
    assert scored[0].predicted.shape == (40, 36, 6)
    assert (find_regions(scored[0].predicted == 2).count == 1) == bool(kept)

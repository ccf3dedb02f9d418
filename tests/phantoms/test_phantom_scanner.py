"""Centres differ as hospitals do: what a site's files state of its scanner is measured in its images."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.data.site import Modality, load_site
from fedgin.data.sites import find_sites
from fedgin.phantoms.scanner import SCANNERS, Scanner, draw_scanner
from fedgin.phantoms.scanner_tissues import CT_PHASES, MR_BY_TESLA
from fedgin.phantoms.site import centres, write_site
from fedgin.phantoms.subject import PhantomSite, write_subject
from fedgin.phantoms.tissues import CT_PORTAL_VENOUS, MR_1_5_TESLA

IDS = {"liver": 1, "spleen": 2, "right_kidney": 3, "pancreas": 4}
CT, MR = (next(scanner for scanner in SCANNERS if scanner.modality is modality) for modality in Modality)


def volumes(folder: Path, scanner: Scanner) -> tuple[NDArray[np.float64], NDArray[np.int64], float]:
    """Return image, label and slice thickness of one body that a scanner images; the same body for every scanner."""
    site = PhantomSite("one", scanner.modality, 1, 0, 0, 3, IDS, "RAS", in_plane_mm=5.0, scanner=scanner)
    image, label = (nib.load(path) for path in write_subject(folder, site, 1))
    return np.asarray(image.dataobj, dtype=np.float64), np.asarray(label.dataobj), float(image.header.get_zooms()[2])


def means(folder: Path, scanner: Scanner) -> dict[str, float]:
    image, label, _ = volumes(folder, scanner)
    return {organ: float(np.mean(image[label == number])) for organ, number in IDS.items()}


@pytest.mark.parametrize("scanner", [CT, MR])
def test_noise_is_as_stated(tmp_path: Path, scanner: Scanner) -> None:
    quiet, once, twice = (volumes(tmp_path / str(noise), replace(scanner, noise=noise)) for noise in (0.0, 1.0, 2.0))
    liver = quiet[1] == IDS["liver"]
    spreads = [float(np.std((image - quiet[0])[liver])) for image, _, _ in (once, twice)]
    assert spreads[1] / spreads[0] == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("slice_mm", [2.5, 8.0])
def test_slices_are_as_thick_as_stated(tmp_path: Path, slice_mm: float) -> None:
    assert volumes(tmp_path, replace(MR, slice_mm=slice_mm))[2] == slice_mm


def test_the_bias_field_is_as_strong_as_stated(tmp_path: Path) -> None:
    flat, once, twice = (
        volumes(tmp_path / str(shading), replace(MR, noise=0.0, shading=shading)) for shading in (0.0, 1.0, 2.0)
    )
    inside = flat[1] > 0
    spreads = [np.std(np.log(image[inside] / flat[0][inside])) for image, _, _ in (once, twice)]
    assert spreads[0] > 0.05
    assert spreads[1] / spreads[0] == pytest.approx(2.0, rel=0.1)


def test_organs_have_the_order_of_the_contrast_phase(tmp_path: Path) -> None:
    native, arterial, venous = (
        means(tmp_path / phase, replace(CT, phase=phase)) for phase in ("native", "arterial", "portal_venous")
    )
    assert native["liver"] > native["spleen"] > native["right_kidney"]
    assert arterial["right_kidney"] > arterial["spleen"] > arterial["pancreas"] > arterial["liver"]
    assert venous["right_kidney"] > venous["spleen"] > venous["pancreas"]
    assert venous["liver"] > arterial["liver"] > native["liver"]


def test_organs_have_the_order_of_the_sequence(tmp_path: Path) -> None:
    first, second = (
        means(tmp_path / scanner.sequence, scanner)
        for scanner in (replace(MR, sequence="t1w", tesla=3.0), replace(MR, sequence="t2w"))
    )
    assert first["liver"] > 1.2 * first["spleen"]
    assert second["spleen"] > 1.2 * second["liver"]


def test_every_phase_and_field_strength_has_every_tissue() -> None:
    assert {phase: table.keys() for phase, table in CT_PHASES.items()} == dict.fromkeys(
        CT_PHASES, CT_PORTAL_VENOUS.keys()
    )
    assert {tesla: table.keys() for tesla, table in MR_BY_TESLA.items()} == {
        1.5: MR_1_5_TESLA.keys(),
        3.0: MR_1_5_TESLA.keys(),
    }
    assert {scanner.tesla for scanner in SCANNERS} == MR_BY_TESLA.keys()
    assert {scanner.phase for scanner in SCANNERS} == CT_PHASES.keys()


def test_six_centres_differ_and_a_seed_repeats_them() -> None:
    sites = centres(6, 42)
    assert [site.modality for site in sites] == [Modality.CT, Modality.MR] * 3
    stated = [json.dumps(site.scanner.described()) for site in sites if site.scanner]
    assert len(set(stated)) == len({site.name for site in sites}) == 6
    assert centres(6, 42) == sites
    assert [draw_scanner(42, number) for number in range(6)] != [draw_scanner(43, number) for number in range(6)]
    later = draw_scanner(42, 6)
    assert later != draw_scanner(42, 0)
    assert later.phase == draw_scanner(42, 0).phase


def test_a_centre_states_its_scanner_in_its_files(tmp_path: Path) -> None:
    for site in centres(2, 1):
        small = replace(site, training=1, validation=0, test=0, in_plane_mm=10.0)
        path = write_site(tmp_path / site.name, small)
        assert site.scanner
        heading = json.loads((tmp_path / site.name / "datalist.json").read_text())
        assert heading["scanner"] == site.scanner.described()
        first, _, rest = path.read_text().partition("\n")
        assert json.loads(first.removeprefix("# Scanner: ")) == site.scanner.described()
        assert yaml.safe_load(rest)["site"] == site.name
        assert load_site(path).modality is site.modality
    assert [contract.site for contract in find_sites(tmp_path)] == ["centre-1", "centre-2"]
    assert "phase" not in json.loads((tmp_path / "centre-2" / "datalist.json").read_text())["scanner"]


def test_centres_of_the_heart_are_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["phantoms", str(tmp_path / "out"), "--centres", "6", "--task", "heart"])
    assert "--centres are sites of the abdomen" in str(result.exception)
    assert not (tmp_path / "out").exists()

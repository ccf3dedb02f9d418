import math
from pathlib import Path

import numpy as np
import pytest

from fedgin.phantoms.site import centres as phantom_centres
from fedgin.study.centres import NotEstimated, Summary, by_centre
from fedgin.train.evaluate.estimates import Subject
from fedgin.train.evaluate.patient_values import subject_values
from fedgin.train.evaluate.scores import CaseScore, read_scores, write_scores


def values(**sites: list[float]) -> dict[Subject, float]:
    return {(site, number): value for site, own in sites.items() for number, value in enumerate(own, start=1)}


def test_two_sites_say_nothing_about_a_third() -> None:
    found = by_centre(values(a=[0.7, 0.8], b=[0.6, 0.9, 0.9]))
    assert [(site.site, site.patients) for site in found.sites] == [("a", 2), ("b", 3)]
    assert str(found.summary) == "cannot be estimated: 2 sites with patients, at least 3 are needed"


@pytest.mark.parametrize("own", [[0.8], [0.0, 0.0]])
def test_sites_whose_patients_do_not_differ_give_no_summary(own: list[float]) -> None:
    found = by_centre(values(a=own, b=own, c=own))
    assert isinstance(found.summary, NotEstimated)
    assert "two patients with different values" in str(found.summary)


def test_no_patient_at_all_gives_no_site() -> None:
    assert by_centre({}).sites == ()


def test_a_site_with_one_patient_has_the_others_variation() -> None:
    found = by_centre(values(a=[0.7, 0.8], b=[0.6, 0.9], c=[0.75]))
    one = found.sites[2]
    assert one.patients == 1
    assert one.variance == pytest.approx((0.005 + 0.045) / 2)
    # The 97.5 % quantile of t with two degrees is 4.303.
    assert one.interval[1] - one.mean == pytest.approx(4.303 * one.variance**0.5, rel=1e-3)


def stored_scores(path: Path, shift: float) -> list[CaseScore]:
    """Write and read scores of two organs of six phantom centres' test patients; the fourth centre's are shifted."""
    rng, scores = np.random.default_rng(1), []
    for number, centre in enumerate(phantom_centres(6, 42)):
        for patient in range(1, centre.test + 1):
            own = 0.8 + (shift if number == 3 else 0.0) + 0.03 * float(rng.standard_normal())
            for organ in ("liver", "spleen"):
                dice = own + 0.01 * float(rng.standard_normal())
                place = (centre.name, centre.modality.value, "test", patient, patient, organ)
                scores.append(CaseScore(*place, dice, 1.0, 1.0))
    write_scores(path, scores)
    return read_scores(path)


def test_a_shift_that_was_planted_at_a_phantom_centre_is_found_and_named_and_no_shift_is_not(tmp_path: Path) -> None:
    found = by_centre(subject_values(stored_scores(tmp_path / "shifted.csv", -0.3))).summary
    assert isinstance(found, Summary)
    assert found.apart == ("centre-4",)
    assert found.combined.p < 0.001
    assert found.combined.i2 > 0.8
    low, high = found.new_site
    assert low < found.bootstrap[0] < found.combined.mean < found.bootstrap[1] < high
    equal = by_centre(subject_values(stored_scores(tmp_path / "equal.csv", 0.0))).summary
    assert isinstance(equal, Summary)
    assert equal.apart == ()
    assert equal.combined.p > 0.05


def test_the_order_of_patients_is_of_no_matter() -> None:
    sites = {name: list(np.random.default_rng(ord(name)).normal(0.8, 0.05, 6)) for name in "abcd"}
    summary = by_centre(values(**sites)).summary
    turned = by_centre(values(**{name: own[::-1] for name, own in sites.items()})).summary
    assert isinstance(summary, Summary)
    assert isinstance(turned, Summary)
    assert summary.combined.interval == pytest.approx(turned.combined.interval)
    assert summary.new_site == pytest.approx(turned.new_site)
    assert not any(map(math.isnan, summary.bootstrap))

import math

import numpy as np
import pytest

from fedgin.study.centres import NotEstimated, Summary, by_centre
from fedgin.train.evaluate.estimates import Subject


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


def test_a_centre_apart_is_named() -> None:
    rng = np.random.default_rng(1)
    sites = {f"site_{number}": list(rng.normal(0.8, 0.05, 20)) for number in range(7)}
    sites["site_3"] = [value - 0.3 for value in sites["site_3"]]
    found = by_centre(values(**sites)).summary
    assert isinstance(found, Summary)
    assert found.apart == ("site_3",)
    assert found.combined.i2 > 0.8
    low, high = found.new_site
    assert low < found.bootstrap[0] < found.combined.mean < found.bootstrap[1] < high


def test_the_order_of_patients_is_of_no_matter() -> None:
    sites = {name: list(np.random.default_rng(ord(name)).normal(0.8, 0.05, 6)) for name in "abcd"}
    summary = by_centre(values(**sites)).summary
    turned = by_centre(values(**{name: own[::-1] for name, own in sites.items()})).summary
    assert isinstance(summary, Summary)
    assert isinstance(turned, Summary)
    assert summary.combined.interval == pytest.approx(turned.combined.interval)
    assert summary.new_site == pytest.approx(turned.new_site)
    assert not any(map(math.isnan, summary.bootstrap))

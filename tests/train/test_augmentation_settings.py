"""How often an experiment's augmentation changes an image."""

import pytest

from fedgin.config import merged, parse_settings
from fedgin.errors import ConfigError
from fedgin.train.augmentation_settings import AugmentationSettings


def read(**values: object) -> AugmentationSettings:
    return parse_settings(values, AugmentationSettings, source="experiment.yaml")


@pytest.mark.parametrize(
    ("probability", "ct", "mr"), [(0.3, 0.3, 0.3), ({"CT": 0.5}, 0.5, 1.0), ({"CT": 0.5, "MR": 0}, 0.5, 0.0)]
)
def test_a_probability_is_one_number_or_one_for_each_modality(probability: object, ct: float, mr: float) -> None:
    settings = read(name="gin", probability=probability)
    assert (settings.chance("CT", 0.7), settings.chance("MR", 0.7)) == (ct, mr)
    assert read(**settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [0.8, 0.8, 0.8]), ("rising", [0.0, 0.2, 0.8]), ("falling", [0.8, 0.6, 0.0])],
)
def test_a_schedule_leads_over_the_run(schedule: str, expected: list[float]) -> None:
    settings = read(name="gin", probability=0.8, schedule=schedule)
    assert [settings.chance("MR", progress) for progress in (0.0, 0.25, 1.0)] == pytest.approx(expected)


def test_an_arm_of_a_study_changes_it_with_a_number_or_for_one_modality() -> None:
    job = AugmentationSettings().model_dump(mode="json")
    assert read(**merged(job, {"probability": 0.5})).chance("CT", 0.0) == 0.5
    one = read(**merged(job, {"probability": {"CT": 0.5}}))
    assert (one.chance("CT", 0.0), one.chance("MR", 0.0)) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"probability": 7}, "probability.CT"),
        ({"probability": {"MR": -0.1}}, "probability.MR"),
        ({"probability": {"PET": 0.5}}, "'CT' or 'MR'"),
        ({"probability": "often"}, "probability.CT"),
        ({"schedule": "sometimes"}, "'constant', 'rising' or 'falling'"),
        ({"params": {"probability": 0.5}}, "write augmentation.probability"),
    ],
)
def test_what_cannot_be_is_refused_by_name(values: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read(name="gin", **values)

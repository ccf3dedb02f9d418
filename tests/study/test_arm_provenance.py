"""What a model card may know of the images: numbers of groups of patients, never of one."""

from pathlib import Path

from fedgin.data.datalist import Split
from fedgin.data.look import look_at
from fedgin.data.prepare import prepare_site
from fedgin.data.site import Modality, load_site
from fedgin.data.volumes import read_image
from fedgin.study.arm_provenance import describe_images, reference_volumes
from fedgin.train.evaluate.scores import CaseScore
from tests.sites import ORGANS, tiny_experiment, write_site


def test_training_images_are_described_where_three_patients_trained(tmp_path: Path) -> None:
    sites = [
        prepare_site(
            load_site(write_site(tmp_path / name, name, modality, counts=counts)),
            tiny_experiment().preprocessing,
            ORGANS,
        )
        for name, modality, counts in (("ct-a", "CT", (3, 1, 0)), ("mr-a", "MR", (2, 4, 0)))
    ]
    [seen] = describe_images(sites)
    assert seen.modality is Modality.CT
    looks = sorted(
        (look_at(read_image(case.case)) for case in sites[0].cases[Split.TRAINING]), key=lambda look: look.grey["p50"]
    )
    low, high = seen.grey["p50"]
    assert looks[0].grey["p50"] < low <= looks[1].grey["p50"] <= high < looks[2].grey["p50"]
    assert seen.differences(looks[1]) == []


def test_limits_of_volumes_are_of_three_patients_or_more() -> None:
    def score(subject: int, organ: str, ml: float) -> CaseScore:
        return CaseScore("a", "CT", "test", subject, subject, organ, 0.5, ml, ml)

    three = [score(number, "liver", 1000.0 + number) for number in (1, 2, 3)]
    two = [score(number, "spleen", 100.0 + number) for number in (1, 2)]
    assert reference_volumes([*three, *two]) == {"liver": (1001.0, 1003.0)}

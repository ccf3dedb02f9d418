"""What is trained on beside a draw, and the predictions that are compared."""

import pytest
import torch

from fedgin.augment import build_augmentation
from fedgin.augment.filters.consistency import divergence_from_mean
from fedgin.errors import ConfigError
from fedgin.seeds import make_generator


def image() -> torch.Tensor:
    return torch.randn(2, 1, 16, 12, generator=make_generator("partners"))


def test_the_clean_partner_is_the_image_itself_and_both_views_are_segmented() -> None:
    gin = build_augmentation("gin", partner="clean")
    clean, drawn = gin.views(image(), gen=make_generator(3))
    assert torch.equal(clean, image())
    assert torch.equal(drawn, build_augmentation("gin")(image(), gen=make_generator(3)))
    assert gin.supervised_views == 2
    assert gin.extra_loss([clean, drawn], [], clean) is None


def test_the_mild_partner_keeps_the_order_of_grey_values() -> None:
    mild, drawn = build_augmentation("gin", partner="location_scale").views(image(), gen=make_generator(3))
    order = image()[0].flatten().argsort()
    assert (mild[0].flatten()[order].diff() >= -1e-5).all()
    assert not torch.allclose(mild, image())
    assert not torch.allclose(mild, drawn)


@pytest.mark.parametrize(("partner", "views", "supervised"), [("none", 3, 1), ("clean", 2, 2)])
def test_predictions_of_all_views_are_compared(partner: str, views: int, supervised: int) -> None:
    gin = build_augmentation("gin", partner=partner, consistency_weight=10)
    assert len(gin.views(image(), gen=make_generator(3))) == views
    assert gin.supervised_views == supervised
    logits = [torch.randn(2, 3, 4, 4, generator=make_generator(n)) for n in range(views)]
    expected = 10 * divergence_from_mean(logits, to_mean=False)
    torch.testing.assert_close(gin.extra_loss(logits, [], image()), expected)


def test_an_unknown_partner_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match="partner") as caught:
        build_augmentation("gin", partner="original")
    assert "location_scale" in str(caught.value)


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.15, 0.5), (0.3, 1.0), (0.9, 1.0)])
@pytest.mark.parametrize("method", ["gin", "randconv"])
def test_the_weight_of_consistency_rises_over_the_first_steps(method: str, progress: float, share: float) -> None:
    """With the share of steps over which it rises at 30 %."""
    logits = [torch.randn(2, 3, 4, 4, generator=make_generator(n)) for n in range(3)]
    full = build_augmentation(method, consistency_weight=10).extra_loss(logits, [], image())
    ramped = build_augmentation(method, consistency_weight=10, consistency_ramp=0.3)
    ramped.progress = progress
    found = ramped.extra_loss(logits, [], image())
    assert full is not None
    assert found is not None
    torch.testing.assert_close(found, share * full)

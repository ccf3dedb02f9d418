from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from fedgin.augment import Augmentation, augmentation_names, build_augmentation, register
from fedgin.augment.methods.gin import GIN
from fedgin.augment.methods.identity import Identity
from fedgin.errors import ConfigError
from fedgin.seeds import make_generator


@register("test-negative")
class Negative(Augmentation[None]):
    """Invert the contrast."""

    def __init__(self, *, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> None:
        """Draw nothing."""

    def transform(self, x: Tensor, params: None) -> Tensor:
        return -self.strength * x


def test_every_file_of_the_folder_and_every_decorated_class_is_known() -> None:
    assert {"gin", "none", "test-negative"} <= set(augmentation_names())
    assert augmentation_names() == sorted(augmentation_names())


def test_building_by_name_passes_the_settings_on() -> None:
    gin = build_augmentation("gin", layers=2, kernel_sizes=[1, [3, 3]], alpha_range=[0, 0.5])
    assert isinstance(gin, GIN)
    assert (gin.layers, gin.kernel_sizes, gin.alpha_range) == (2, (1, (3, 3)), (0.0, 0.5))
    assert isinstance(build_augmentation("none"), Identity)


def test_a_class_defined_elsewhere_keeps_the_contract() -> None:
    x = torch.arange(8.0).view(1, 1, 2, 4)
    assert torch.equal(build_augmentation("test-negative", strength=2.0)(x, gen=make_generator(1)), -2 * x)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'gim'.*gin, .*none"):
        build_augmentation("gim")


def test_an_unknown_parameter_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'layer'.*layers, hidden_channels, .*probability, background"):
        build_augmentation("gin", layer=3)
    with pytest.raises(ConfigError, match=r"'layers'.*none"):
        build_augmentation("none", layers=3)


def test_a_wrong_value_says_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match=r"padding.*reflect, zeros"):
        build_augmentation("gin", padding="same")

"""A draw that was written down gives the same images again."""

import pytest
import torch

from fedgin.augment import augmentation_names, build_augmentation
from fedgin.augment.draws import draw_from_text, draw_to_text


@pytest.mark.parametrize("name", [name for name in augmentation_names() if name != "none"])
def test_a_draw_is_replayed_from_its_text(name: str) -> None:
    method = build_augmentation(name)
    image = torch.randn(2, 1, 24, 20, generator=torch.Generator().manual_seed(1))
    draw = method.draw(image.shape, gen=torch.Generator().manual_seed(2))
    again = draw_from_text(draw_to_text(draw), method)
    assert torch.equal(method.apply(image, again), method.apply(image, draw))

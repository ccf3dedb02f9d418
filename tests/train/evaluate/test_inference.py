from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fedgin.data.resampling import VoxelGrid
from fedgin.train.evaluate.inference import CaseInferer, Segmented, segment_case

CPU = torch.device("cpu")
SIDES = st.tuples(st.integers(1, 40), st.integers(1, 21), st.integers(1, 21))
PATCH = (16, 8, 8)


class Recorded(nn.Module):
    """Another network, of which the sizes of all inputs are kept."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.shapes.append(tuple(image.shape))
        result: Tensor = self.network(image)
        return result


def convolution(kernel: int) -> nn.Module:
    """Return a layer that looks as far as the kernel, with weights of a mean and a border like that of the tiles."""
    layer = nn.Conv3d(1, 3, kernel, padding=kernel // 2, padding_mode="replicate")
    with torch.no_grad():
        layer.weight.copy_(torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0)))
        layer.weight /= layer.weight.sum()
    return layer


def volume(shape: tuple[int, int, int]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def placed(image: Tensor) -> Segmented:
    """Return a case whose own grid is the canonical one."""
    d, x, y = image.shape
    return Segmented("CT", np.eye(4), VoxelGrid((x, y, d), np.eye(4)))


def pieces(network: nn.Module, image: Tensor, window: tuple[int, ...] = PATCH) -> list[Tensor]:
    inferer = CaseInferer(window, CPU)
    inferer.case = placed(image)
    with torch.inference_mode():
        return list(inferer.probabilities(image, network))


def segmented(network: nn.Module, image: Tensor, window: tuple[int, ...] = PATCH) -> Tensor:
    return torch.cat(pieces(network, image, window), dim=1)


@settings(max_examples=25)
@given(shape=SIDES)
def test_tiles_equal_the_whole_volume(shape: tuple[int, int, int]) -> None:
    """For odd sizes and for volumes smaller than a patch, with a network that looks no further than its voxel."""
    network = nn.Sequential(nn.Conv3d(1, 8, 1), nn.ReLU(), nn.Conv3d(8, 3, 1))
    assert _difference(network, volume(shape), PATCH) < 1e-4


@settings(max_examples=10)
@given(shape=st.tuples(*[st.integers(1, 8)] * 3))
def test_a_volume_smaller_than_a_patch_is_segmented_as_if_it_went_on(shape: tuple[int, int, int]) -> None:
    """A network that looks one voxel far sees the border where the whole volume's own convolution repeats it."""
    assert _difference(convolution(3), volume(shape), PATCH) < 1e-4


def _difference(network: nn.Module, image: Tensor, window: tuple[int, int, int]) -> float:
    with torch.inference_mode():
        whole = network(image[None, None])[0].softmax(0)
    return float((segmented(network, image, window) - whole).abs().max())


@settings(max_examples=15)
@given(depth=st.integers(1, 70))
def test_slices_equal_the_whole_volume(depth: int) -> None:
    network = nn.Conv2d(1, 3, 3, padding=1)
    image = volume((depth, 8, 6))
    with torch.inference_mode():
        whole = network(image[:, None]).movedim(1, 0).softmax(0)
    assert torch.allclose(segmented(network, image, (8, 6)), whole, atol=1e-6)


@pytest.mark.parametrize("depth", [16, 160])
def test_the_device_holds_one_batch_of_patches_however_long_the_volume_is(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgin.train.evaluate.inference.PIXELS_AT_ONCE", 2 * 16 * 8 * 8)
    network = Recorded(convolution(1))
    segmented(network, volume((depth, 20, 20)))
    assert {shape[1:] for shape in network.shapes} == {(1, *PATCH)}
    assert max(shape[0] for shape in network.shapes) == 2


class Largest(TorchFunctionMode):
    """Remember the largest tensor of numbers that anything computes, but for views of an image."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image = image.untyped_storage().data_ptr()
        self.size = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor) and value.is_floating_point():
                own = value.untyped_storage().data_ptr() != self.image
                self.size = max(self.size, value.numel() if own else 0)
        return result


@pytest.mark.parametrize("window", [(20, 20), PATCH], ids=["slices", "volumes"])
def test_no_more_than_two_layers_of_patches_are_held_however_long_the_volume_is(
    window: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgin.train.evaluate.inference.PIXELS_AT_ONCE", 8 * 20 * 20)
    network = nn.Conv2d(1, 3, 1) if len(window) == 2 else nn.Conv3d(1, 3, 1)
    held = set()
    for depth in (32, 96):
        image = volume((depth, 20, 20))
        with Largest(image) as seen:
            segment_case(network, image, placed(image), CaseInferer(window, CPU))
        held.add(seen.size)
    assert len(held) == 1
    assert held.pop() <= 2 * 3 * PATCH[0] * 20 * 20


def test_a_patch_larger_than_a_batch_is_shown_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedgin.train.evaluate.inference.PIXELS_AT_ONCE", 1)
    network = Recorded(convolution(1))
    segmented(network, volume((20, 9, 9)))
    assert {shape[0] for shape in network.shapes} == {1}

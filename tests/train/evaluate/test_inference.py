import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fedgin.train.evaluate.inference import CaseInferer, predict_probabilities

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


def segmented(network: nn.Module, image: Tensor, window: tuple[int, ...] = PATCH) -> Tensor:
    return predict_probabilities(network, image, "CT", CaseInferer(window, CPU))


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


def test_a_patch_larger_than_a_batch_is_shown_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedgin.train.evaluate.inference.PIXELS_AT_ONCE", 1)
    network = Recorded(convolution(1))
    segmented(network, volume((20, 9, 9)))
    assert {shape[0] for shape in network.shapes} == {1}

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Affine
from torch import Tensor

from fedgin.train.experiment import SpatialSettings
from fedgin.train.geometry import GeometricAugmentation, GeometryDraw

SHAPES = st.one_of(
    st.tuples(st.integers(1, 12), st.integers(2, 12)),
    st.tuples(st.integers(1, 6), st.integers(2, 9), st.integers(2, 9)),
)
ALWAYS = SpatialSettings(probability=1.0, rotation_degrees=40.0, scale=0.3, shift_pixels=3.0)


def draw_for(shape: tuple[int, ...], batch: int, seed: int, spatial: SpatialSettings = ALWAYS) -> GeometryDraw:
    spacing = [4.0, 1.5, 1.5][-len(shape) :]
    return GeometricAugmentation(spatial, spacing).draw(batch, gen=torch.Generator().manual_seed(seed))


def one(matrix: list[list[float]]) -> GeometryDraw:
    return GeometryDraw(torch.ones(1, dtype=torch.bool), torch.tensor([matrix]))


def batch_of(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return values.float()[None, None], values.byte()[None, None], (values > 0)[None, None]


@settings(max_examples=60)
@given(shape=SHAPES, axis=st.integers(0, 2), seed=st.integers(0, 2**31), batch=st.integers(1, 3))
def test_image_label_and_mask_move_together(shape: tuple[int, ...], axis: int, seed: int, batch: int) -> None:
    """An image that says where each voxel came from is exact under linear interpolation, and the label rounds it."""
    axis %= len(shape)
    place = torch.arange(shape[axis]).view([-1 if i == axis else 1 for i in range(len(shape))])
    image = place.expand(batch, 1, *shape).float()
    moved, label, body = GeometricAugmentation.apply(
        image, image.byte(), image >= shape[axis] / 2, draw_for(shape, batch, seed)
    )
    assert float((label - moved).abs().max()) <= 0.5 + 1e-4
    assert torch.equal(body, label >= shape[axis] / 2)
    assert (label.dtype, body.dtype) == (torch.int64, torch.bool)


@settings(max_examples=30)
@given(shape=SHAPES, seed=st.integers(0, 2**31), probability=st.sampled_from([0.0, 0.5, 1.0]))
def test_a_draw_can_be_replayed_and_leaves_other_samples_alone(
    shape: tuple[int, ...], seed: int, probability: float
) -> None:
    spatial = ALWAYS.model_copy(update={"probability": probability})
    gen = torch.Generator().manual_seed(1)
    image = torch.randn(4, 1, *shape, generator=gen)
    parts = (image, torch.randint(0, 9, image.shape, generator=gen, dtype=torch.uint8), image > 0)
    first = GeometricAugmentation.apply(*parts, draw_for(shape, 4, seed, spatial))
    again = GeometricAugmentation.apply(*parts, draw_for(shape, 4, seed, spatial))
    assert all(map(torch.equal, first, again))
    still = ~draw_for(shape, 4, seed, spatial).applied
    assert all(torch.equal(moved[still], part[still]) for moved, part in zip(first, parts, strict=True))


@pytest.mark.parametrize("shape", [(7, 9), (5, 6, 8)])
def test_the_identity_changes_nothing_and_a_whole_shift_moves_whole_voxels(shape: tuple[int, ...]) -> None:
    values = torch.randint(0, 50, shape, generator=torch.Generator().manual_seed(0))
    identity = torch.eye(len(shape), len(shape) + 1)
    for shift in (0, 1):
        matrix = identity.clone()
        matrix[-2, -1] = shift  # the last axis but one: a voxel of the result lies one further in the image
        moved = GeometricAugmentation.apply(*batch_of(values), one(matrix.tolist()))
        inner = [part[0, 0].narrow(-2, 0, shape[-2] - shift) for part in moved]
        wanted = [part[0, 0].narrow(-2, shift, shape[-2] - shift) for part in batch_of(values)]
        assert torch.allclose(inner[0], wanted[0], atol=1e-4)
        assert torch.equal(inner[1], wanted[1])
        assert torch.equal(inner[2], wanted[2])


def test_a_quarter_turn_is_that_of_torch() -> None:
    values = torch.randint(0, 50, (8, 8), generator=torch.Generator().manual_seed(0))
    moved, label, _ = GeometricAugmentation.apply(*batch_of(values), one([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]))
    assert torch.allclose(moved[0, 0], torch.rot90(values, -1).float(), atol=1e-4)
    assert torch.equal(label[0, 0], torch.rot90(values, -1))


def test_a_slice_is_moved_as_by_monai() -> None:
    image = torch.randn(1, 1, 20, 31, generator=torch.Generator().manual_seed(0))
    angle, scale, shift = 0.3, (1.1, 0.8), (2.5, -1.0)
    turned = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    matrix = [[row[0] * scale[0], row[1] * scale[1], offset] for row, offset in zip(turned, shift, strict=True)]
    affine = [*matrix, [0.0, 0.0, 1.0]]
    theirs, _ = Affine(affine=torch.tensor(affine), padding_mode="border")(image[0])
    ours, _, _ = GeometricAugmentation.apply(image, image.byte(), image > 0, one(matrix))
    assert torch.allclose(ours[0], theirs.as_tensor(), atol=1e-4)


def test_a_volume_of_thick_slices_turns_without_shear() -> None:
    """In mm, lengths and angles are kept: spacing * linear part / spacing is a rotation."""
    spatial = SpatialSettings(probability=1.0, rotation_degrees=30.0, scale=0.0, shift_pixels=0.0)
    spacing = torch.tensor([5.0, 1.5, 2.0])
    draw = GeometricAugmentation(spatial, spacing.tolist()).draw(6, gen=torch.Generator().manual_seed(3))
    turn = draw.matrices[..., :3] * spacing[:, None] / spacing
    assert torch.allclose(turn @ turn.transpose(1, 2), torch.eye(3).expand(6, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(turn), torch.ones(6), atol=1e-5)


def test_draws_stay_in_their_ranges() -> None:
    spatial = SpatialSettings(probability=0.5, rotation_degrees=10.0, scale=0.1, shift_pixels=6.0)
    draw = GeometricAugmentation(spatial, (1.0, 1.0)).draw(4000, gen=torch.Generator().manual_seed(0))
    lengths, shifts = draw.matrices[..., :2].norm(dim=1), draw.matrices[..., 2]
    angles = torch.atan2(draw.matrices[:, 1, 0], draw.matrices[:, 0, 0]).rad2deg()
    assert 0.45 < float(draw.applied.float().mean()) < 0.55
    for values, middle, limit in ((lengths, 1.0, 0.1), (shifts, 0.0, 6.0), (angles, 0.0, 10.0)):
        assert 0.97 * limit < float((values - middle).abs().max()) <= limit * (1 + 1e-3)
        assert abs(float(values.mean()) - middle) < 0.05 * limit

import pickle
from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose, ScaleIntensityd
from monai.utils import set_determinism
from torch import Tensor

from fedgin.augment.methods.gin import GIN
from fedgin.augment.monai_transforms import RandGIN, RandGINd
from fedgin.errors import ConfigError
from fedgin.seeds import make_generator


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("image", *shape))


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 4, 8, 8)])
def test_an_image_keeps_its_type_dtype_and_meta_data(shape: tuple[int, ...]) -> None:
    tensor, affine = image(*shape), torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0]))
    variants = [tensor, tensor.half(), tensor.numpy(), MetaTensor(tensor, affine=affine, meta={"case": 7})]
    for x in variants:
        out = RandGIN(GIN()).set_random_state(1)(x)
        assert (type(out), out.dtype, out.shape) == (type(x), x.dtype, x.shape)
        assert not np.array_equal(np.asarray(out), np.asarray(x))
    assert isinstance(out, MetaTensor)
    assert torch.equal(out.affine, affine.double())
    assert out.meta["case"] == 7


def test_the_random_state_decides_the_result() -> None:
    x = image(1, 16, 16)
    transform = RandGIN(GIN()).set_random_state(1)
    first, second = transform(x), transform(x)
    assert not np.array_equal(first, second)
    assert np.array_equal(transform(x, randomize=False), second)
    assert np.array_equal(transform.set_random_state(1)(x), first)
    assert not np.array_equal(transform.set_random_state(2)(x), first)


def test_probability_is_the_augmentations() -> None:
    x = image(1, 16, 16)
    assert torch.equal(torch.as_tensor(RandGIN(GIN(probability=0.0))(x)), x)


def test_a_compose_seeds_the_dictionary_transform() -> None:
    pipeline = Compose([ScaleIntensityd("image"), RandGINd("image", GIN())])
    data = {"image": image(1, 16, 16), "label": torch.ones(1, 16, 16)}
    first = pipeline.set_random_state(3)(data)
    assert torch.equal(first["image"], pipeline.set_random_state(3)(data)["image"])
    assert not torch.equal(first["image"], pipeline.set_random_state(4)(data)["image"])
    assert first["label"] is data["label"]


def test_all_keys_share_a_draw_and_the_input_stays() -> None:
    x = image(1, 16, 16)
    data: dict[Hashable, Tensor] = {"ct": x, "mr": x.clone()}
    out = RandGINd(["ct", "mr", "pet"], GIN(), allow_missing_keys=True).set_random_state(1)(data)
    assert torch.equal(torch.as_tensor(out["ct"]), torch.as_tensor(out["mr"]))
    assert not torch.equal(torch.as_tensor(out["ct"]), x)
    assert torch.equal(data["ct"], x)
    with pytest.raises(KeyError, match="pet"):
        RandGINd(["pet"], GIN())(data)


def test_the_body_mask_reaches_the_background_policy() -> None:
    x = image(1, 16, 16)
    body = x > 0
    data: dict[Hashable, Tensor] = {"image": x, "body": body}
    out = RandGINd("image", GIN(background="keep"), body_key="body")(data)
    kept = torch.as_tensor(out["image"])
    assert torch.equal(kept[~body], x[~body])
    assert not torch.equal(kept[body], x[body])
    with pytest.raises(ConfigError, match="body mask"):
        RandGIN(GIN(background="keep"))(x)


def test_a_pickled_transform_continues_the_same_stream() -> None:
    transform = RandGINd("image", GIN(kernel_sizes=[1, [3, 3]])).set_random_state(1)
    transform({"image": image(1, 8, 8)})
    copy = pickle.loads(pickle.dumps(transform))  # noqa: S301 - our own bytes
    data: dict[Any, Any] = {"image": image(1, 8, 8)}
    assert np.array_equal(np.asarray(copy(data)["image"]), np.asarray(transform(data)["image"]))


def test_data_loader_workers_are_repeatable_and_differ_from_each_other() -> None:
    data = Dataset([{"image": image(1, 8, 8)}] * 4, Compose([RandGINd("image", GIN())]))

    def run() -> list[Tensor]:
        set_determinism(5)
        try:
            return [batch["image"].as_subclass(Tensor) for batch in DataLoader(data, batch_size=1, num_workers=2)]
        finally:
            set_determinism(None)

    first, second = run(), run()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(torch.equal(a, b) for i, a in enumerate(first) for b in first[:i])

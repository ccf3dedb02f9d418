from pathlib import Path
from typing import Any

import pytest
import torch
from monai.inferers import Inferer, SimpleInferer
from torch import nn

from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.nets.registry import architecture, build_network
from fedgin.nets.settings import NetworkSettings, SpatialDims
from fedgin.train.batches import RoundPlan
from fedgin.train.experiment import Experiment
from fedgin.train.precision import BFloat16Inferer
from fedgin.train.trainer import Trainer
from tests.networks import TINY
from tests.sites import ORGANS, tiny_experiment, write_site

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["amx", "no-amx"])
def amx(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Let the CPU say that it multiplies bfloat16, or that it does not; every CPU computes it, if slowly."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64", "amx_bf16": request.param})
    return bool(request.param)


@pytest.mark.parametrize("amp", [True, False])
def test_a_forward_pass_is_in_bfloat16_where_the_cpu_has_it_and_the_job_allows_it(
    tmp_path: Path, amx: bool, amp: bool
) -> None:
    """Images, weights, gradients and the optimiser's moments are in float32 all the same."""
    trainer = _trainer(tiny_experiment(training={"local_steps": 2, "batch_size": 4, "amp": amp}))
    seen: list[tuple[torch.dtype, torch.dtype]] = []
    trainer.network.register_forward_hook(lambda _, given, found: seen.append((given[0].dtype, found.dtype)))
    _train(trainer, tmp_path)
    computed = torch.bfloat16 if amx and amp else torch.float32
    assert seen == [(torch.float32, computed)] * 2
    parameters = list(trainer.network.parameters())
    assert {each.dtype for each in parameters} == {torch.float32}
    assert {each.grad.dtype for each in parameters if each.grad is not None} == {torch.float32}
    moments = [each["exp_avg"].dtype for each in trainer.optimizer.state_dict()["state"].values()]
    assert moments == [torch.float32] * len(parameters)


def test_a_cpu_that_tells_nothing_of_bfloat16_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ARM CPU has other names for what it can do."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "aarch64", "sve": True})
    assert _trainer(tiny_experiment()).precision == "float32"


def test_bfloat16_trains_to_the_same_loss_within_its_rounding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    losses = []
    for amp in (True, False):
        trainer = _trainer(tiny_experiment(training={"local_steps": 8, "batch_size": 4, "amp": amp}))
        losses.append(_train(trainer, tmp_path))
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.parametrize(("name", "axes"), [*((name, 2) for name in sorted(TINY)), ("unet", 3)])
def test_every_network_computes_in_bfloat16_what_it_computes_in_float32(name: str, axes: SpatialDims) -> None:
    """bfloat16 has 8 bits of precision; a layer rounds by 0.4 %, and a deep network adds that up."""
    settings = NetworkSettings(name=name, params=TINY[name])
    network = build_network(settings, spatial_dims=axes, out_channels=3, seed=0)
    size = [2 * side for side in architecture(settings).reductions(axes)]
    image = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(0))
    exact, rounded = (_finest(_draw_the_same(each, image, network)) for each in (SimpleInferer(), BFloat16Inferer()))
    assert rounded.dtype == torch.bfloat16
    with torch.no_grad():
        assert float((rounded.float() - exact).norm() / exact.norm()) < 0.1
    torch.autograd.backward(rounded.float().square().mean())
    gradients = [each.grad for each in network.parameters() if each.grad is not None]
    assert gradients
    assert all(bool(each.isfinite().all()) for each in gradients)


def _trainer(experiment: Experiment) -> Trainer:
    return Trainer(experiment.initial_network(), experiment, CPU)


def _train(trainer: Trainer, folder: Path) -> float:
    contract = load_site(folder / "site.yaml" if (folder / "site.yaml").exists() else write_site(folder, "s", "CT"))
    cases = prepare_site(contract, trainer.experiment.preprocessing, ORGANS).cases[Split.TRAINING]
    return trainer.train_round(cases, RoundPlan("s", 0, 1)).loss


def _draw_the_same(inferer: Inferer, image: torch.Tensor, network: nn.Module) -> Any:
    torch.manual_seed(0)  # for dropout
    return inferer(image, network)


def _finest(outputs: Any) -> torch.Tensor:
    finest: torch.Tensor = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
    return finest

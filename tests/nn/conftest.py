import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from trispike.nn import ARCHITECTURES, SpikeModel, build_model, randomize
from trispike.nn.models import IMPPlan, Plan, PSNVGGPlan, ResNetPlan, TTFSPlan, VGGPlan
from trispike.nn.models.vgg import Layout


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """The networks here are small, and tests may share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _narrow(plan: Plan) -> Plan:
    if isinstance(plan, ResNetPlan):
        return dataclasses.replace(plan, widths=tuple(w // 16 for w in plan.widths))
    if isinstance(plan, IMPPlan):
        return dataclasses.replace(plan, layers=_narrow(plan.layers))
    if isinstance(plan, PSNVGGPlan):
        return PSNVGGPlan(vgg=_narrow_vgg(plan.vgg))
    if isinstance(plan, TTFSPlan):
        return TTFSPlan(vgg=_narrow_vgg(plan.vgg))
    return _narrow_vgg(plan)


def _narrow_vgg(plan: VGGPlan) -> VGGPlan:
    layout: Layout = tuple("M" if item == "M" else item // 16 for item in plan.layout)
    return dataclasses.replace(plan, layout=layout)


def _small(name: str, **settings: Any) -> SpikeModel:
    entry = ARCHITECTURES[name]
    shape = (entry.input_shape[0], 32, 32)
    settings = {"steps": 2, "input_shape": shape, "plan": _narrow(entry.plan)} | settings
    torch.manual_seed(0)
    model = build_model(name, **settings)
    randomize(model, seed=1)
    return model.eval()


@pytest.fixture
def small() -> Callable[..., SpikeModel]:
    """Makes a narrow, randomized network for 32x32 inputs, in evaluation mode."""
    return _small


@pytest.fixture
def batch() -> Callable[..., Tensor]:
    """Makes two random inputs that fit a model."""

    def make(model: SpikeModel, n: int = 2) -> Tensor:
        generator = torch.Generator().manual_seed(2)
        steps = () if model.input_kind == "static" else (model.steps,)
        return torch.randn(n, *steps, *model.input_shape, generator=generator)

    return make

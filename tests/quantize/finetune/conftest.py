"""The digits, their network, and a coarse quantization of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import trispike
from trispike.quantize import quantize
from trispike.runtime.data import load_digits_split


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def split():
    return load_digits_split()


@pytest.fixture(scope="package")
def source(split):
    path = Path(trispike.__path__[0]) / "demo" / "ctsn_digits.pth"
    module = trispike.load_checkpoint(path, "ctsn-resnet8", steps=4)
    return trispike.convert(module, split.train.x[:2], proof_samples=2).network


@pytest.fixture(scope="package")
def quantization(source, split):
    """Two bits, rounded together."""
    return quantize(source, split.train.x[:64], weight_bits=2)


@pytest.fixture(scope="package")
def few(split):
    """Data and labels for tests that are not about accuracy."""
    return np.asarray(split.train.x[:40]), np.asarray(split.train.y[:40])

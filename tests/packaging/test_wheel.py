"""The built wheel, alone in a clean environment, loads and simulates an integer network."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FixedPointNeuron,
    Input,
    IntegerNetwork,
    Population,
    Readout,
    save,
)
from trispike.runtime import ReferenceEngine

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

SIMULATE = """
import importlib.util, sys
import numpy as np
from trispike.network import load
from trispike.runtime import ReferenceEngine

for absent in ("torch", "lava", "onnx", "nir", "ray", "sklearn", "scipy", "PIL"):
    assert importlib.util.find_spec(absent) is None, absent
network, data, logits = sys.argv[1:]
np.save(logits, ReferenceEngine(load(network)).run(np.load(data)).logits)
"""


def run(*command: str | os.PathLike[str], cwd: Path = ROOT) -> None:
    # A PYTHONPATH would let the environment see what is not installed in it.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    (built,) = folder.glob("*.whl")
    return built


def network() -> IntegerNetwork:
    random = np.random.default_rng(0)
    neuron = FixedPointNeuron(
        a_pos=3000, a_neg=2000, b_pos=1000, b_neg=500, th_pos=4000, th_neg=3000
    )
    kernel = random.integers(-127, 128, (3, 1, 3, 3))
    matrix = random.integers(-127, 128, (10, 3 * 8 * 8))
    conv = Conv2d(weight=kernel, padding=(1, 1))
    out = Connection(sources=("conv",), target="readout", operator=Dense(weight=matrix))
    return IntegerNetwork(
        input=Input(shape=(1, 8, 8), scale=1 / 16),
        populations={"conv": Population(shape=(3, 8, 8), neuron=neuron)},
        connections=(Connection(sources=("input",), target="conv", operator=conv),),
        readout=Readout(
            connections=(out,),
            bias=np.arange(10, dtype=np.int64),
            weights=np.ones(4, dtype=np.int64),
        ),
        steps=4,
    )


def test_wheel_holds_every_file_of_the_package(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("trispike/")}
    tracked = subprocess.run(
        ["git", "ls-files", "trispike"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(tracked.stdout.split()) <= packed


def test_wheel_alone_simulates_an_integer_network(wheel, tmp_path):
    data = np.random.default_rng(1).random((8, 1, 8, 8))
    np.save(tmp_path / "data.npy", data)
    save(network(), tmp_path / "network.safetensors")
    expected = ReferenceEngine(network()).run(data).logits
    assert np.unique(expected).size > 1

    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "-c", ROOT / "constraints.txt", wheel)
    files = ("network.safetensors", "data.npy", "logits.npy")
    run(python, "-c", SIMULATE, *files, cwd=tmp_path)
    run(python, "-m", "pip", "check", cwd=tmp_path)

    assert np.array_equal(np.load(tmp_path / "logits.npy"), expected)

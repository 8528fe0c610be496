import json
import subprocess
import sys

import pytest

from benchmarks.stock_lava import Layer, StockLayer, layers, summary
from benchmarks.worker import ROOT


def test_layers_of_one_shape_are_measured_once(demo):
    found = layers(demo.network())
    assert found[Layer(**SAME)] == 2  # both convolutions of the first block
    assert {layer.kind for layer in found} == {"Conv"}  # the readout has a pooling before it


SAME = {
    "kind": "Conv",
    "input_shape": (16, 8, 8),
    "weight_shape": (16, 16, 3, 3),
    "padding": (1, 1),
}


def test_layers_are_added_up_and_shared_by_the_processors(demo):
    network = demo.network()
    conv = Layer(**SAME)
    measured = [StockLayer(layer=conv, count=n, seconds_per_step=s) for n, s in ((3, 0.5), (1, 2))]
    found = summary(network, measured, processors=2)
    assert found["seconds_per_step_added_up"] == 3.5
    assert found["seconds_per_step"] == 1.75
    assert found["seconds_per_image"] == 1.75 * network.steps
    json.dumps(found)


@pytest.mark.slow  # starts Lava once per layer
def test_stock_lava_runs_every_layer(demo):
    pytest.importorskip("lava")
    command = [sys.executable, "-m", "benchmarks.stock_lava", str(demo.folder), "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found = json.loads(result.stdout.splitlines()[-1])
    assert len(found["layers"]) == len(layers(demo.network()))
    assert all(layer["seconds_per_step"] > 0 for layer in found["layers"])

"""Lava's own Conv, Dense and LIF, layer by layer.

Lava's stock processes cannot express CTSN, and a whole ResNet-19 of them would take minutes per
image. So each layer of a network is run as a pipeline of its own, source - Conv or Dense - LIF, in
Lava's fixed point, with binary LIF in the place of the network's neuron and random spikes at the
network's rate; times of layers of one shape are taken once, and added up. What stock processes
cannot do in one (pooling, identity shortcuts) is left out, which favours them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.case import Case
from trispike.network import Conv2d, Dense, IntegerNetwork

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The shape of a connection; everything that its time depends on."""

    kind: str
    """Conv or Dense."""
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StockLayer:
    """What was measured of the layers of one shape."""

    layer: Layer
    count: int
    """How many layers of the network have this shape."""
    seconds_per_step: float
    """Of one of them."""


def layers(network: IntegerNetwork) -> Counter[Layer]:
    """The connections that stock processes can express, by shape."""
    found: Counter[Layer] = Counter()
    for connection in network.all_connections:
        operator, shape = connection.operator, network.source_shape(connection)
        if connection.pool:
            continue
        if isinstance(operator, Conv2d):
            found[
                Layer(
                    kind="Conv",
                    input_shape=shape,
                    weight_shape=operator.weight.shape,
                    stride=operator.stride,
                    padding=operator.padding,
                    dilation=operator.dilation,
                    groups=operator.groups,
                )
            ] += 1
        elif isinstance(operator, Dense):
            size = (int(np.prod(shape)),)
            found[Layer(kind="Dense", input_shape=size, weight_shape=operator.weight.shape)] += 1
    return found


def measure(layer: Layer, steps: int, rate: float) -> float:
    """Seconds per step of one layer, after a first one."""
    # Importing Lava changes how processes start, so only who measures does it.
    from lava.proc.io.source import RingBuffer  # noqa: PLC0415
    from lava.proc.lif.process import LIF  # noqa: PLC0415

    from trispike.targets.lava.imports import Loihi2SimCfg, RunSteps  # noqa: PLC0415

    random = np.random.default_rng(0)
    synapses = _synapses(layer, random)
    spikes = random.random((*synapses.s_in.shape, steps + 1)) < rate
    source = RingBuffer(data=spikes.astype(np.int32))
    neurons = LIF(shape=synapses.a_out.shape, du=4095, dv=2048, vth=100)
    source.s_out.connect(synapses.s_in)
    synapses.a_out.connect(neurons.a_in)
    config = Loihi2SimCfg(select_tag="fixed_pt")
    try:
        source.run(RunSteps(num_steps=1), config)
        start = time.perf_counter()
        source.run(RunSteps(num_steps=steps), config)
        return (time.perf_counter() - start) / steps
    finally:
        source.stop()


def _synapses(layer: Layer, random: np.random.Generator) -> Any:
    from lava.proc.conv.process import Conv  # noqa: PLC0415
    from lava.proc.dense.process import Dense as StockDense  # noqa: PLC0415

    weight = 2 * random.integers(-63, 64, layer.weight_shape)
    if layer.kind == "Dense":
        return StockDense(weights=weight, num_message_bits=8)
    return Conv(  # axes the other way round, as Lava has them
        weight=weight.transpose(0, 3, 2, 1),
        input_shape=layer.input_shape[::-1],
        stride=layer.stride[::-1],
        padding=layer.padding[::-1],
        dilation=layer.dilation[::-1],
        groups=layer.groups,
        num_message_bits=8,
    )


def summary(
    network: IntegerNetwork, measured: Iterable[StockLayer], processors: int
) -> Mapping[str, Any]:
    """The layers added up: one step, and one image, of all of them.

    Stock processes run side by side, so a step of the whole takes at least its sum over the number
    of processors: that is what is compared with, although no run would reach it.
    """
    each = list(measured)
    total = sum(m.count * m.seconds_per_step for m in each)
    step = total / processors
    return {
        "layers": [asdict(m) for m in each],
        "seconds_per_step_added_up": total,
        "seconds_per_step": step,
        "seconds_per_image": step * network.steps,
    }


def main() -> None:
    """Measure a case and print JSON: ``python -m benchmarks.stock_lava FOLDER STEPS``."""
    folder, steps = sys.argv[1:]
    import trispike.targets.lava.imports  # noqa: F401, PLC0415 - mends Lava before its other parts

    case = Case(Path(folder))
    network = case.network()
    measured = [
        StockLayer(
            layer=layer,
            count=count,
            seconds_per_step=measure(layer, int(steps), case.facts["mean_rate"]),
        )
        for layer, count in layers(network).items()
    ]
    print(json.dumps(summary(network, measured, len(os.sched_getaffinity(0)))))


if __name__ == "__main__":
    main()

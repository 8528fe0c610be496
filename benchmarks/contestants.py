"""Who takes part: each loads a case in a process of its own, and answers batches of inputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.case import Case
from trispike.errors import UnsupportedError

Array: TypeAlias = npt.NDArray[Any]

FAST_MEMORY = 512 << 20
"""Bytes that the fast engine may use for what it computes."""

TRIED_IMAGES = 4
"""On which settings of PyTorch are compared."""
HOPELESS = (3.0, 1.3)
"""How many times slower than the best setting another one may be to be tried a second and a third
time; the first time may be slow for reasons of its own."""


@dataclass(slots=True, kw_only=True)
class Runner:
    """A contestant that is ready."""

    run: Callable[[], Array | None]
    """Answers the inputs: logits (N, K), integers from integer networks; None from a limit."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What a reader of the figures has to know: settings that were chosen, work per run."""
    pids: Callable[[], Mapping[str, int]] = dict
    """Processes that it has started."""
    resources: ExitStack = field(default_factory=ExitStack)
    """What has to be closed."""


Builder: TypeAlias = Callable[[Case, Array, int], Runner]
"""From a case, inputs and the number of threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One way of running a network."""

    title: str
    """For tables."""
    about: str
    """What it computes."""
    computes: Literal["integers", "floats", "nothing"]
    """Integers have to be equal; floats need not agree; a limit of the machine answers nothing."""
    build: Builder
    """Makes it ready, in a process of its own."""
    share: int = 1
    """Runs 1/share of the samples, because it is slow."""
    is_interop: bool = False
    """Needs the environment that ``make interop`` makes."""


def _fast(case: Case, inputs: Array, threads: int) -> Runner:
    from trispike.runtime.fast import FastEngine  # noqa: PLC0415 - each worker has its own

    engine = FastEngine(case.network(), memory=FAST_MEMORY, threads=threads)
    engine.run(inputs[:1])  # what is compiled belongs to making it ready
    return Runner(run=lambda: engine.run(inputs).logits, facts={"memory_budget": FAST_MEMORY})


def _reference(case: Case, inputs: Array, threads: int) -> Runner:
    from trispike.runtime.reference import ReferenceEngine  # noqa: PLC0415

    engine = ReferenceEngine(case.network())
    return Runner(run=lambda: engine.run(inputs).logits)


def _eager(case: Case, inputs: Array, threads: int) -> Runner:
    from benchmarks.eager import EagerNetwork, eager_neuron  # noqa: PLC0415

    return torch_runner(EagerNetwork(case.module(), eager_neuron), inputs, threads)


def _spikingjelly(case: Case, inputs: Array, threads: int) -> Runner:
    from benchmarks.eager import EagerNetwork  # noqa: PLC0415
    from benchmarks.others import spikingjelly_neuron  # noqa: PLC0415

    return torch_runner(EagerNetwork(case.module(), spikingjelly_neuron), inputs, threads)


def _snntorch(case: Case, inputs: Array, threads: int) -> Runner:
    from benchmarks.eager import EagerNetwork  # noqa: PLC0415
    from benchmarks.others import snntorch_neuron  # noqa: PLC0415

    return torch_runner(EagerNetwork(case.module(), snntorch_neuron), inputs, threads)


def torch_runner(network: Any, inputs: Array, threads: int) -> Runner:
    """A module in the fastest of its settings: memory layout, and images at once."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(threads)
    images = torch.from_numpy(inputs)
    layouts = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}

    def run(layout: str, batch: int, count: int) -> Array:
        network.to(memory_format=layouts[layout])
        parts = torch.split(images[:count].contiguous(memory_format=layouts[layout]), batch)
        return torch.cat([network(part) for part in parts]).numpy()

    # Few images may fit the caches, many keep the threads busy.
    batches = sorted({1, min(4, len(inputs)), min(16, len(inputs)), len(inputs)})
    if len(inputs) > 32:
        batches = batches[1:]
    counts = {
        (layout, batch): min(len(inputs), max(TRIED_IMAGES, batch))
        for layout in layouts
        for batch in batches
    }
    layout, batch = fastest({c: partial(run, *c, count) for c, count in counts.items()}, counts)
    setting = f"{layout}, {batch} image{'s' if batch > 1 else ''} at once"
    return Runner(run=partial(run, layout, batch, len(inputs)), facts={"setting": setting})


def _onnx(case: Case, inputs: Array, threads: int) -> Runner:
    from trispike.export.onnx import build_model  # noqa: PLC0415
    from trispike.runtime.onnx_engine import open_session, run_session  # noqa: PLC0415

    network = case.network()
    x = network.input.encode(inputs, network.steps)

    def run(session: Any, carrier: str, count: int) -> Array:
        return run_session(session, {"x": x[:count].astype(carrier)}, ["logits"])["logits"]

    sessions = {}
    for form, carrier in (("unrolled", "float32"), ("sequence", "float32"), ("unrolled", "int8")):
        model = build_model(network, form, carrier)
        sessions[form, carrier] = open_session(model.SerializeToString(), threads)
    form, carrier = fastest(
        {key: partial(run, session, key[1], 1) for key, session in sessions.items()}
    )
    session = sessions[form, carrier]
    return Runner(
        run=partial(run, session, carrier, len(x)),
        facts={"setting": f"{form} form, {carrier} operators"},
    )


def _lava(case: Case, inputs: Array, threads: int) -> Runner:
    from trispike.targets.lava.session import LavaSession  # noqa: PLC0415

    network = case.network()
    x = network.input.encode(inputs, network.steps)
    resources = ExitStack()
    session = resources.enter_context(LavaSession(network, capacity=len(x)))
    # Without those that fill and empty the pipeline, in which most processes are held: their time
    # counts, so that a step is one of all layers, as with stock processes.
    chip_steps = len(x) * network.steps

    def run() -> Array:
        return np.einsum("ntk,t->nk", session.stream(x).step_logits, network.readout.weights)

    return Runner(
        run=run,
        facts={"chip_steps": chip_steps, "setting": f"{len(session.pids)} processes"},
        pids=lambda: session.pids,
        resources=resources,
    )


def _int8_limit(case: Case, inputs: Array, threads: int) -> Runner:
    from benchmarks.limits import int8_pass  # noqa: PLC0415

    return _convolution_limit(case, len(inputs), threads, int8_pass)


def _fp32_limit(case: Case, inputs: Array, threads: int) -> Runner:
    from benchmarks.limits import fp32_pass  # noqa: PLC0415

    return _convolution_limit(case, len(inputs), threads, fp32_pass)


def _convolution_limit(
    case: Case, samples: int, threads: int, build: Callable[..., Callable[[], None]]
) -> Runner:
    """The convolutions alone, at the number of samples at once that suits them best."""
    import torch  # noqa: PLC0415

    from benchmarks.limits import convolutions  # noqa: PLC0415

    torch.set_num_threads(threads)
    work = convolutions(case.network())
    batches = [n for n in (1, 4, 16, 64) if samples % n == 0] or [samples]
    passes = {n: build(work, n) for n in batches}
    batch = fastest(passes, {n: n for n in batches})

    def run() -> None:
        for _ in range(samples // batch):
            passes[batch]()

    return Runner(
        run=run,
        facts={
            "setting": f"{batch} samples at once",
            "macs": samples * sum(c.macs for c in work),
        },
    )


def _bandwidth(case: Case, inputs: Array, threads: int) -> Runner:
    from benchmarks.limits import TRIAD_BYTES, triad  # noqa: PLC0415

    return Runner(run=triad(threads), facts={"bytes": TRIAD_BYTES})


def fastest(choices: Mapping[Any, Callable[[], Any]], work: Mapping[Any, int] | None = None) -> Any:
    """The choice that takes the least time per work, each tried three times unless hopeless."""
    best: dict[Any, float] = {}
    for choice, run in choices.items():
        for limit in (*HOPELESS, 1.0):
            start = time.perf_counter()
            run()
            seconds = (time.perf_counter() - start) / (work[choice] if work else 1)
            best[choice] = min(seconds, best.get(choice, seconds))
            if best[choice] > limit * min(best.values()):
                break
    return min(best, key=lambda choice: best[choice])


CONTESTANTS: Mapping[str, Contestant] = {
    "fast": Contestant(
        title="trispike, fast engine",
        about="the integer network; spikes, logits and exact event counts",
        computes="integers",
        build=_fast,
    ),
    "reference": Contestant(
        title="trispike, reference engine",
        about="the integer network in NumPy, step by step, with exact event counts",
        computes="integers",
        build=_reference,
        share=8,
    ),
    "onnx": Contestant(
        title="onnxruntime, exported model",
        about="the integer network as an ONNX file, in the fastest of three forms",
        computes="integers",
        build=_onnx,
        share=4,
    ),
    "lava": Contestant(
        title="trispike, Lava processes",
        about="the integer network as one Lava process per layer, chip step by chip step",
        computes="integers",
        build=_lava,
        share=4,
    ),
    "eager": Contestant(
        title="PyTorch eager, float32",
        about="the published formulation, neurons written from their equations",
        computes="floats",
        build=_eager,
    ),
    "spikingjelly": Contestant(
        title="SpikingJelly, float32",
        about="the same layers with SpikingJelly's neurons, all steps at once",
        computes="floats",
        build=_spikingjelly,
        is_interop=True,
    ),
    "snntorch": Contestant(
        title="snnTorch, float32",
        about="the same layers with snnTorch's Leaky, step by step",
        computes="floats",
        build=_snntorch,
    ),
    "limit-int8": Contestant(
        title="limit: int8 convolutions",
        about="the network's convolutions in oneDNN, bytes in, float32 out; no neurons",
        computes="nothing",
        build=_int8_limit,
    ),
    "limit-fp32": Contestant(
        title="limit: float32 convolutions",
        about="the same convolutions in float32, channels last; no neurons",
        computes="nothing",
        build=_fp32_limit,
    ),
    "limit-bandwidth": Contestant(
        title="limit: memory",
        about="a = b + s*c over arrays that fit no cache",
        computes="nothing",
        build=_bandwidth,
    ),
}
"""By name."""


def refuse(library: str, neuron: object) -> UnsupportedError:
    """The error for a neuron that a library does not have."""
    return UnsupportedError(
        library,
        got=type(neuron).__name__,
        expected="a neuron that it can express",
        fix="Compare networks of plain LIF neurons.",
    )

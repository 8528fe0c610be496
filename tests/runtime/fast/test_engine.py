"""The fast engine equals the reference: spikes, states, logits, ledger, for everything."""

import logging
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("numba", reason="numba is not installed")

import torch

import trispike
from tests.networks import (
    CASES,
    Builder,
    as_float,
    random_network,
    sample_inputs,
    saturation,
    too_fast_loop,
    vectors,
)
from tests.runtime import floats
from tests.runtime.equality import assert_equal
from tests.strategies import inputs_for, integer_networks
from trispike.errors import (
    InvalidDataError,
    InvalidSettingError,
    MissingDependencyError,
    SaturationError,
)
from trispike.export import prove, trace
from trispike.network import FloatNetwork, IntegerNetwork, Network
from trispike.runtime import Result
from trispike.runtime.data import load_digits_split
from trispike.runtime.engines import build_engine, engine_version
from trispike.runtime.fast import FastEngine, layout, links, neurons
from trispike.runtime.reference import ReferenceEngine
from trispike.runtime.verify import FLOAT_TOLERANCE, verify

ALL = {**CASES, "too_fast_loop": too_fast_loop}


@pytest.fixture(autouse=True)
def quiet():
    """Wide sums are warned about; test_links.py looks at that."""
    logging.getLogger("trispike.runtime.fast").setLevel(logging.ERROR)
    yield
    logging.getLogger("trispike.runtime.fast").setLevel(logging.NOTSET)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of the kernel such that small populations have several."""
    for module in (layout, neurons):
        monkeypatch.setattr(module, "BLOCK", 4)


def in_batches_of(engine: FastEngine, samples: int) -> FastEngine:
    engine._machine.batch_size = samples
    return engine


# ------------------------------------------------------------------------------------- integers


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", ALL)
def test_equals_reference(case, threads):
    """Five samples in batches that do not divide them, with every trace of every population."""
    network = ALL[case]()
    inputs = sample_inputs(network, 5)
    reference = ReferenceEngine(network).run(inputs, record="all")
    assert reference.ledger.spikes
    engine = in_batches_of(FastEngine(network, threads=threads), 3)
    assert_equal(engine.run(inputs, record="all"), reference)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", ALL)
def test_equals_reference_in_blocks(case, threads, small_blocks):
    """Nothing is recorded, which is another compiled kernel."""
    network = ALL[case]()
    inputs = sample_inputs(network, 5)
    result = FastEngine(network, threads=threads).run(inputs)
    assert_equal(result, ReferenceEngine(network).run(inputs))


@pytest.mark.parametrize("channels", [3, 64, 600])
def test_populations_of_several_blocks(channels):
    """In the block size of the engine: parameters per channel, per neuron, and a shortcut."""
    b = Builder(channels, (channels, 6, 5) if channels < 600 else (channels, 2, 1), steps=3)
    shape = b.shapes["input"]
    leak = np.linspace(0, 4096, channels).astype(int).reshape(-1, 1, 1)
    b.layer("input", "a", b.identity("input"), neuron={"b_pos": leak, "bias": 0})
    b.connect("a", "b", b.conv("a", channels, 1))
    b.connect("a", "b", b.identity("a"), delay=1)
    b.populate("b", v_init=b.rng.integers(-99, 100, shape), k=leak)
    network = b.build("b")
    assert np.prod(shape) * 3 > layout.BLOCK / 6
    inputs = sample_inputs(network, 4)
    reference = ReferenceEngine(network).run(inputs, record="all")
    assert_equal(FastEngine(network, threads=2).run(inputs, record="all"), reference)


def assert_equals_reference(network: Network, inputs: Any, way: str) -> None:
    """The engine, taken one of its ways, against the reference."""
    reference = ReferenceEngine(network).run(inputs, record="all")
    engine = FastEngine(network, threads=1 + len(inputs) % 2)
    if way == "one by one":
        in_batches_of(engine, 1)
    if way == "events":
        machine: Any = engine._machine
        for link in [link for into in machine._links.values() for link in into]:
            link._dense_seconds, link._timed_images = np.inf, 1 << 30
    assert_equal(engine.run(inputs, record="all"), reference)
    assert_equal(engine.run(inputs), ReferenceEngine(network).run(inputs))


def check_random(data: st.DataObject) -> None:
    """Any network, any data, any way; in float with sums that are exact in any order."""
    network: Network = data.draw(integer_networks())
    inputs = data.draw(inputs_for(network))
    way = data.draw(st.sampled_from(["all", "one by one", "events", "float32", "blocks", "float"]))
    if way == "float":
        network, inputs = as_float(network), np.rint(inputs * 16) / 16
    with pytest.MonkeyPatch.context() as patch:
        if way == "events":
            patch.setattr(links, "EVENT_RATE", 2.0)
        if way == "float32":
            patch.setattr(links, "int8_is_exact", lambda: False)
        if way == "blocks":
            patch.setattr(layout, "BLOCK", 3)
            patch.setattr(neurons, "BLOCK", 3)
        assert_equals_reference(network, inputs, way)


ANY = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=30, suppress_health_check=ANY)
@given(st.data())
def test_random_networks(data):
    check_random(data)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(15))
@settings(max_examples=200, suppress_health_check=ANY)
@given(data=st.data())
def test_many_random_networks(part, data):
    """In parts, because a test that takes five minutes counts as one that hangs."""
    check_random(data)


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_as_other_engines_run_them(seed):
    network = random_network(seed)
    inputs = sample_inputs(network, 4, seed)
    reference = ReferenceEngine(network).run(inputs, record="all")
    assert_equal(FastEngine(network).run(inputs, record="all"), reference)


# --------------------------------------------------------------------------------------- floats


def assert_equal_but_for_rounding(result: Result, reference: Result) -> None:
    """Spikes and counts are equal; sums may differ in the last bits, added in another order."""
    assert result.ledger.differences(reference.ledger) == []
    np.testing.assert_array_equal(result.predictions, reference.predictions)
    pairs = [(result.logits, reference.logits), (result.step_logits, reference.step_logits)]
    for name, traces in reference.records.items():
        np.testing.assert_array_equal(result.records[name]["s"], traces["s"])
        pairs += [(result.records[name][trace], traces[trace]) for trace in "icv"]
    for got, expected in pairs:
        assert got.dtype == np.float64
        largest = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(got, expected, rtol=0, atol=FLOAT_TOLERANCE * largest)


@pytest.mark.parametrize("case", ALL)
def test_float_networks(case):
    network = as_float(ALL[case]())
    inputs = sample_inputs(network, 4)
    reference = ReferenceEngine(network).run(inputs, record="all")
    result = in_batches_of(FastEngine(network), 3).run(inputs, record="all")
    assert_equal_but_for_rounding(result, reference)


@pytest.mark.parametrize("case", floats.CASES)
def test_float_networks_whose_sums_are_exact(case):
    """Then nothing differs, not even in the last bit."""
    network = floats.CASES[case]()
    inputs = floats.sample_inputs(network, 5)
    reference = ReferenceEngine(network).run(inputs, record="all")
    assert_equal(FastEngine(network).run(inputs, record="all"), reference)


# ---------------------------------------------------------------------------------------- digits


@cache
def _demo() -> tuple[FloatNetwork, IntegerNetwork]:
    split = load_digits_split()
    path = trispike.__path__[0] + "/demo/ctsn_digits.pth"
    module = trispike.load_checkpoint(path, "ctsn-resnet8", steps=4)
    network = trispike.convert(module, split.test.x[:1]).network
    quantized = trispike.quantize(network, split.train.x[:64], split.train.y[:64]).network
    return network, quantized


def test_digits():
    """Predictions on the whole test set, every spike and state on a sample."""
    _, network = _demo()
    x, y = load_digits_split().test
    engine, trusted = FastEngine(network), ReferenceEngine(network)
    result = engine.run(x, y)
    assert_equal(result, trusted.run(x, y))
    assert result.accuracy is not None
    assert result.accuracy > 0.95
    assert_equal(engine.run(x[:8], record="all"), trusted.run(x[:8], record="all"))


def test_digits_in_float():
    network, _ = _demo()
    x, y = load_digits_split().test
    engine, trusted = FastEngine(network), ReferenceEngine(network)
    assert_equal_but_for_rounding(engine.run(x, y), trusted.run(x, y))
    some = engine.run(x[:8], record="all")
    assert_equal_but_for_rounding(some, trusted.run(x[:8], record="all"))


def test_float_spikes_are_those_of_the_module():
    """The module that was converted, neuron by neuron; a spike that differs would have to lie
    within rounding of its threshold."""
    path = trispike.__path__[0] + "/demo/ctsn_digits.pth"
    module = trispike.load_checkpoint(path, "ctsn-resnet8", steps=4)
    x = load_digits_split().test.x[:16]
    traced = trace(module, x.shape[1:], steps=4, encoding="direct")
    proof = prove(module, traced, x)
    result = FastEngine(traced.network).run(
        x, record=dict.fromkeys(traced.network.populations, "s")
    )
    fired = sum(int((r["s"] != 0).sum()) for r in result.records.values())
    assert proof.spike_mismatches == 0
    assert fired == proof.spikes_fired
    with torch.no_grad():
        logits = module.eval().double()(torch.tensor(x, dtype=torch.float64))
    np.testing.assert_allclose(result.logits, logits.numpy(), atol=1e-9)


# -------------------------------------------------------------------------------------- contract


@pytest.mark.parametrize("network", [vectors(), as_float(vectors())], ids=["integer", "float"])
def test_verify(network):
    certificate = verify(network, sample_inputs(network, 3), ("reference", "fast"))
    assert certificate.equal
    assert certificate.tolerance == (0 if network.kind == "integer" else FLOAT_TOLERANCE)
    assert certificate.engines["fast"] == engine_version("fast")
    assert re.fullmatch(r"torch \d+\.\d+.*", engine_version("fast"))


@pytest.mark.parametrize("kind", ["integer", "float"])
@pytest.mark.parametrize("samples", [0, 1])
def test_few_samples(samples, kind):
    network = vectors() if kind == "integer" else as_float(vectors())
    inputs = np.rint(sample_inputs(network, samples) * 16) / 16
    reference = ReferenceEngine(network).run(inputs, record="all")
    assert_equal(FastEngine(network).run(inputs, record="all"), reference)


def test_records_what_was_asked_for():
    """States of one population, spikes of another: both kernels in one run."""
    network = vectors()
    inputs = sample_inputs(network, 3)
    wanted = {"second": ["v", "s"], "first": ["i"], "third": ["s"]}
    engine = FastEngine(network)
    assert_equal(
        engine.run(inputs, record=wanted), ReferenceEngine(network).run(inputs, record=wanted)
    )
    assert engine.run(inputs).records == {}


def test_labels_and_progress():
    network = vectors()
    inputs = sample_inputs(network, 12)
    labels = ReferenceEngine(network).run(inputs).predictions
    engine: Any = build_engine("fast", network)
    in_batches_of(engine, 5)
    finished: list[int] = []
    result = engine.run(inputs, labels, progress=finished.append)
    assert result.accuracy == 1.0
    assert finished == [4, 4, 4]  # as few as possible, and alike
    assert result.engine == engine.name == "fast"
    assert result.seconds > 0


@pytest.mark.parametrize("kind", ["integer", "float"])
def test_runs_are_equal_whatever_the_threads_and_batches(kind):
    """Bit for bit, also in float."""
    _, network = _demo() if kind == "integer" else (None, _demo()[0])
    x = load_digits_split().test.x[:30]
    first = FastEngine(network, threads=1).run(x, record="all")
    for threads, batch in ((1, 30), (2, 30), (2, 7)):
        engine = in_batches_of(FastEngine(network, threads=threads), batch)
        assert_equal(engine.run(x, record="all"), first)
        assert_equal(engine.run(x, record="all"), first)


def test_threads_of_torch_are_given_back():
    before = torch.get_num_threads()
    engine = FastEngine(vectors(), threads=before + 2)
    with pytest.raises(ZeroDivisionError):
        engine.run(sample_inputs(vectors(), 1), progress=lambda n: n // 0)
    assert torch.get_num_threads() == before
    assert FastEngine(vectors()).threads == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("case", ["saturation", "loop"])
@pytest.mark.parametrize("samples", [1, 6])
def test_strict_mode_raises_as_the_reference_does(case, samples):
    """The same population, the same step, the same count."""
    network = saturation() if case == "saturation" else _saturating_loop()
    inputs = sample_inputs(network, samples)
    with pytest.raises(SaturationError) as expected:
        ReferenceEngine(network, strict=True).run(inputs)
    with pytest.raises(SaturationError, match=re.escape(str(expected.value))):
        FastEngine(network, strict=True).run(inputs)


def _saturating_loop() -> IntegerNetwork:
    """It saturates later than at the first step, in its second population."""
    b = Builder(44, (6,), steps=6)
    b.shapes["back"] = (5,)
    b.connect("input", "go", b.dense("input", 5))
    b.connect("back", "go", b.dense("back", 5), delay=1)
    b.populate("go")
    narrow = {"state_bits": 10, "state_shift": 1, "th_pos": 40, "th_neg": 40, "reset": "none"}
    b.layer("go", "back", b.dense("go", 5), neuron={**narrow, "b_pos": 4096, "b_neg": 4096})
    return b.build("back")


def test_strict_mode_changes_nothing_else():
    network = vectors()
    inputs = sample_inputs(network, 4)
    assert_equal(
        FastEngine(network, strict=True).run(inputs, record="all"),
        ReferenceEngine(network).run(inputs, record="all"),
    )


@pytest.mark.parametrize("setting", [{"memory": 0}, {"threads": 0}, {"threads": -1}])
def test_settings_below_one(setting):
    with pytest.raises(InvalidSettingError, match="at least 1"):
        FastEngine(vectors(), **setting)


def test_refuses_data_that_does_not_fit():
    network = vectors()
    engine = FastEngine(network)
    with pytest.raises(InvalidDataError):
        engine.run(np.zeros((3, 4)))
    with pytest.raises(InvalidDataError):
        engine.run(sample_inputs(network, 2), labels=np.zeros(3, int))
    with pytest.raises(InvalidDataError):
        engine.run(sample_inputs(network, 2), record={"nothing": ["s"]})


@pytest.mark.parametrize("package", ["torch", "numba"])
def test_missing_package(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trispike\[fast\]'"):
        FastEngine(vectors())


def test_the_package_needs_neither_torch_nor_numba():
    code = "import sys, trispike.runtime.engines; print({'torch', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


COMPILED = """
import numpy as np
from tests.networks import chained_pool, sample_inputs
from trispike.runtime.fast import FastEngine, kernels
network = chained_pool()
FastEngine(network).run(sample_inputs(network, 2))
for function in (kernels.advance, kernels.pool):
    print(sum(function.stats.cache_hits.values()), sum(function.stats.cache_misses.values()))
"""


def test_nothing_is_compiled_twice():
    """What this process compiled, or one before it, the next one takes from the disk."""
    network = CASES["chained_pool"]()
    FastEngine(network).run(sample_inputs(network, 2))
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], capture_output=True, text=True, check=True, cwd=root,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    counts = [[int(n) for n in line.split()] for line in done.stdout.splitlines()]
    assert all(hits > 0 for hits, _ in counts)
    assert all(misses == 0 for _, misses in counts)

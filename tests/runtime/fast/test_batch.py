"""How many samples run together, and in how much memory."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("numba", reason="numba is not installed")

from tests.networks import CASES, Builder, as_float, sample_inputs
from tests.runtime.equality import assert_equal
from trispike.errors import InvalidSettingError
from trispike.network import Network, SumPool
from trispike.runtime.fast import FastEngine
from trispike.runtime.fast.batch import Machine
from trispike.runtime.fast.links import Link
from trispike.runtime.reference import ReferenceEngine

SAMPLES = 12


def needed(network: Network) -> int:
    return Machine(network, 1, 1 << 40)._bytes_per_sample()


@pytest.mark.parametrize("case", ["pooled_downsample", "feedforward_delay", "recurrent"])
def test_the_memory_decides_about_the_batch(case):
    """Down to one sample at a time; results do not depend on it."""
    network = CASES[case]()
    x = sample_inputs(network, 5)
    reference = ReferenceEngine(network).run(x, record="all")
    for samples in (1, 2, 3):
        finished: list[int] = []
        engine = FastEngine(network, memory=needed(network) * samples + 7)
        result = engine.run(x, record="all", progress=finished.append)
        assert_equal(result, reference)
        assert max(finished) == samples
        assert sum(finished) == 5


def test_too_little_memory_for_one_sample():
    network = CASES["vectors"]()
    least = needed(network)
    assert FastEngine(network, memory=least).run(sample_inputs(network, 2)).ledger.samples == 2
    with pytest.raises(InvalidSettingError) as error:
        FastEngine(network, memory=least - 1)
    assert f"memory: got {least - 1:,} bytes; expected at least {least:,}" in str(error.value)
    assert "--memory" in str(error.value)


def test_nothing_is_computed_for_steps_at_which_nothing_can_come(monkeypatch):
    """Links of nine steps: a frame that is presented once, then windows of three steps each."""
    network, seen = CASES["silent_windows"](), []
    currents = Link.currents

    def counted(self, signal):
        seen.append((self.label, len(signal.values)))
        return currents(self, signal)

    monkeypatch.setattr(Link, "currents", counted)
    x = sample_inputs(network, 3)
    expected = ReferenceEngine(network).run(x, record="all")
    assert_equal(FastEngine(network).run(x, record="all"), expected)
    assert dict(seen)["input->one"] == 1
    assert {steps for label, steps in seen if label != "input->one"} == {3}


def layers(
    exponent: int = 0, *, kernel: int = 3, encoding: str = "direct", **neuron: int
) -> Builder:
    b = Builder(1, (3, 40, 40), encoding=encoding)
    half = (kernel // 2, kernel // 2)
    for source, target in (("input", "a"), ("a", "b")):
        conv = b.conv(source, 12, (kernel, kernel), padding=half)
        b.layer(source, target, conv, exponent=exponent, neuron=neuron)
    return b


def loop() -> Network:
    b = layers()
    b.connect("b", "c", b.conv("b", 12))
    b.connect("c", "c", b.identity("c"), delay=1)
    b.populate("c")
    return b.build("c")


def sources() -> Network:
    b = layers()
    b.layer(("a", "b"), "c", b.conv("a", 12))
    b.layer(("a", "b", "c"), "d", b.conv("a", 4, stride=(2, 2)), delay=1)
    return b.build("d")


def pooled() -> Network:
    b = layers()
    same = SumPool(kernel=(3, 3), stride=(1, 1), padding=(1, 1))
    b.layer("a", "c", b.conv("a", 12), pool=same)
    wide = SumPool(kernel=(5, 5), stride=(1, 1), padding=(2, 2), then=same)
    b.layer(("b", "c"), "d", b.conv("a", 12), pool=wide)
    return b.build("d")


def only_readout() -> Network:
    b = Builder(1, (12, 40, 40), encoding="frames")
    b.layer("input", "a", b.identity("input"))
    return b.build("a")


LARGE: dict[str, Callable[[], Network]] = {
    "int8": lambda: layers().build("b"),
    "frames": lambda: layers(encoding="frames").build("b"),
    "float64 carrier": lambda: layers(16).build("b"),
    "wide states": lambda: layers(state_bits=32).build("b"),
    "loop": loop,
    "sources": sources,
    "pooled": pooled,
    "readout": only_readout,
    "float": lambda: as_float(layers().build("b")),
    "float, large kernel": lambda: as_float(layers(kernel=7).build("b")),
    "float, loop": lambda: as_float(loop()),
    "float, pooled": lambda: as_float(pooled()),
    "float, readout": lambda: as_float(only_readout()),
}
"""Where a sample takes enough to be measured, and where each term of the bound is the largest."""


def measure(name: str) -> tuple[int, int]:
    """Bytes that a batch may take, and what the process grew by while it ran."""
    network = LARGE[name]()
    engine = FastEngine(network, threads=2)
    machine = engine._machine
    assert isinstance(machine, Machine)
    machine.batch_size = SAMPLES
    x = sample_inputs(network, SAMPLES)
    engine.run(x[:1])  # what is compiled, packed and loaded only once
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    engine.run(x)
    return SAMPLES * machine._bytes_per_sample(), _status("VmHWM") - before


def _status(entry: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(entry + ":")).split()[1])


def test_a_batch_stays_within_its_memory():
    """Measured at the process, because NumPy, torch and oneDNN allocate each in their own way."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system does not measure peaks")
    code = (
        "import json; from tests.runtime.fast.test_batch import LARGE, measure; "
        "print(json.dumps({name: measure(name) for name in LARGE}))"
    )
    root = str(Path(__file__).parents[3])
    # Without this, what was freed once is used again, and does not show.
    environment = {**os.environ, "PYTHONPATH": root, "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root,
        env=environment,
    )  # fmt: skip
    measured = json.loads(done.stdout)
    slack = 2 << 20  # of the allocators
    too_large = {n: m for n, (bound, m) in measured.items() if m > bound + slack}
    assert not too_large, measured
    # And it is a bound of what is there: some of them come close.
    assert max(m / bound for bound, m in measured.values()) > 0.5, measured


def test_nothing_is_left_behind_between_runs():
    """A second run of the same engine starts anew, and returns the same."""
    network = CASES["recurrent"]()
    engine = FastEngine(network)
    x = sample_inputs(network, 7)
    first = engine.run(x, record="all")
    engine.run(np.negative(x))
    assert_equal(engine.run(x, record="all"), first)

"""The pipeline without Lava: all programs in step, in one process, against the reference."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.networks import CASES, random_network, sample_inputs, too_fast_loop
from trispike.errors import UnsupportedError
from trispike.network import IntegerNetwork
from trispike.runtime.reference import ReferenceEngine
from trispike.targets.lava.program import Clock, InputProgram, PopulationProgram, ReadoutProgram
from trispike.targets.lava.schedule import schedule


def lockstep(network: IntegerNetwork, *batches: Any) -> tuple[Any, dict[str, Any]]:
    """Step logits and all records, one run of the chip per batch."""
    plan = schedule(network)
    clock = Clock(plan, [network.input.name, *network.order, network.readout.name])
    capacity = max(len(batch) for batch in batches)
    source = InputProgram(network, clock, capacity)
    populations = {
        name: PopulationProgram(network, name, plan, clock, capacity=capacity, record="sicv")
        for name in network.order
    }
    readout = ReadoutProgram(network, plan, clock, capacity=capacity)
    logits = []
    records: dict[str, Any] = {name: {trace: [] for trace in "sicv"} for name in populations}
    programs: list[Any] = [source, readout, *populations.values()]
    for batch in batches:
        n = len(batch)
        source.data[:n] = batch
        for _ in range(clock.begin(n)):
            fired = {source.name: source.fire().copy()}
            fired |= {name: program.fire() for name, program in populations.items()}
            readout.fire()
            for program in programs:
                program.receive([fired[name] for name in getattr(program, "sources", ())])
        logits.append(readout.step_logits[:n].copy())
        for name, program in populations.items():
            for trace, values in program.records.items():
                records[name][trace].append(values[:n].copy())
    joined = {n: {t: np.concatenate(v) for t, v in r.items()} for n, r in records.items()}
    return np.concatenate(logits), joined


def assert_equals_reference(network: IntegerNetwork, inputs: Any, *cuts: int) -> None:
    encoded = network.input.encode(inputs, network.steps)
    logits, records = lockstep(network, *np.split(encoded, cuts))
    reference = ReferenceEngine(network).run(inputs, record="all")
    np.testing.assert_array_equal(logits, reference.step_logits)
    for name, traces in reference.records.items():
        for trace, expected in traces.items():
            np.testing.assert_array_equal(records[name][trace], expected, f"{name}.{trace}")


@pytest.mark.parametrize("case", CASES)
def test_equals_reference(case):
    network = CASES[case]()
    assert_equals_reference(network, sample_inputs(network, 7), 3, 4)


@given(seed=st.integers(0, 2**32), samples=st.integers(1, 4))
def test_random_networks_equal_the_reference(seed, samples):
    network = random_network(seed)
    assert_equals_reference(network, sample_inputs(network, samples, seed))


def test_chip_steps_are_samples_times_steps_plus_depth():
    network = CASES["shortcut_across_two_convolutions"]()
    plan = schedule(network)
    assert plan.depth == {"input": 0, "stem": 1, "inner": 2, "outer": 3, "readout": 4}
    assert plan.chip_steps(10) == 10 * network.steps + 4
    # The shortcut waits for the longer way.
    latencies = {"+".join((*c.sources, c.target)): plan.latency(c) for c in network.connections}
    assert latencies == {"input+stem": (1,), "stem+inner": (1,), "inner+outer": (1,),
                         "stem+outer": (2,)}  # fmt: skip


def test_delays_that_close_no_loop_may_raise_depths():
    """A delayed connection from a deep layer to a shallow one pushes the shallow one down."""
    network = CASES["feedforward_delay"]()
    plan = schedule(network)
    assert all(latency >= 1 for c in network.all_connections for latency in plan.latency(c))


def test_every_recurrent_connection_has_its_delay():
    network = CASES["recurrent"]()
    plan = schedule(network)
    assert all(latency >= 1 for c in network.all_connections for latency in plan.latency(c))


def test_a_loop_that_is_too_fast_is_refused_by_name():
    with pytest.raises(UnsupportedError, match=r"recurrent connection back->go \(delay 1\)"):
        schedule(too_fast_loop())

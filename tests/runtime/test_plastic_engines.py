"""Plastic networks: reference and Lava are equal in every weight; all others refuse by name."""

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import sample_inputs, vectors
from tests.plastic import RULES, plastic_network, random_plastic_network, rules_of
from tests.runtime.equality import assert_equal
from trispike.errors import InvalidDataError, InvalidSettingError, UnsupportedError
from trispike.network import IntegerNetwork, Plasticity, make_plastic
from trispike.network.learning import plastic
from trispike.runtime import ReferenceEngine, lava_engine
from trispike.runtime.anytime import anytime, early_exit
from trispike.runtime.energy import estimate_energy, load_profile
from trispike.runtime.engines import ENGINES, LEARNING_ENGINES, build_engine, default_engine
from trispike.runtime.lava_engine import LavaEngine
from trispike.runtime.set_points import with_set_points
from trispike.runtime.verify import verify
from trispike.targets.lava.program import Clock, InputProgram, PopulationProgram, ReadoutProgram
from trispike.targets.lava.schedule import schedule

HAS_LAVA = importlib.util.find_spec("lava") is not None
lava_only = pytest.mark.skipif(not HAS_LAVA, reason="Lava is not installed")


def assert_weights_equal(got: Any, expected: Any) -> None:
    assert list(got) == list(expected)
    for label, values in expected.items():
        np.testing.assert_array_equal(got[label], values, label)
        assert got[label].dtype == values.dtype == np.int32


class ByHand:
    """A plastic network with everything advanced in the open."""

    def __init__(self, network: IntegerNetwork) -> None:
        self.network = network
        self.rules = rules_of(network)
        self.states = {n: self.rules[n].start(self.trained(n)) for n in self.rules}
        self.neurons: dict[str, Any] = {}
        self.fired: list[dict[str, Any]] = []
        self.seen: dict[str, Any] = {}

    def trained(self, label: str) -> Any:
        return plastic(self.network)[label].operator.weight

    def begin(self) -> None:
        populations = self.network.populations.items()
        self.neurons = {n: p.neuron.initial_state(1, p.shape) for n, p in populations}
        self.fired = []
        for label, rule in self.rules.items():
            self.states[label] = rule.begin_sample(self.states[label], self.trained(label))

    def current(self, target: str, t: int) -> Any:
        total = np.zeros((1, *self.network.shape_of(target)), np.int64)
        for label, c in self.network.labelled():
            if c.target == target:
                x = np.zeros(self.network.source_shape(c), np.int64)
                if t >= c.delay:
                    x = x + sum(self.fired[t - c.delay][s] for s in c.sources)
                pooled = c.pool.apply(x[None])[0] if c.pool else x
                self.seen[label] = pooled.reshape(-1)
                weight = c.operator.weight
                if label in self.rules:
                    weight = self.rules[label].weights(self.states[label])
                if weight.ndim == 2:
                    out = (weight.astype(np.int64) @ self.seen[label]) << c.exponent
                else:
                    out = c.current(x[None])[0]
                total += out.reshape(total.shape)
        return total

    def step(self, frame: Any, t: int) -> Any:
        """Logits of a step."""
        self.fired.append({"input": frame})
        for name in self.network.order:
            neuron = self.network.populations[name].neuron
            step = neuron.step(self.neurons[name], self.current(name, t), t)
            self.neurons[name], self.fired[t][name] = step.state, step.spikes[0]
            for label, c in plastic(self.network).items():
                if c.target == name:
                    self.states[label] = self.rules[label].step(
                        self.states[label], self.trained(label), c.bits, self.seen[label],
                        step.spikes.reshape(-1), last=t == self.network.steps - 1,
                    )  # fmt: skip
        return self.network.readout.step_logits(self.current("readout", t))[0]


def by_hand(network: IntegerNetwork, inputs: Any) -> tuple[list[Any], dict[str, list[Any]]]:
    """Logits and weights after every step."""
    machine = ByHand(network)
    logits: list[Any] = []
    weights: dict[str, list[Any]] = {label: [] for label in machine.rules}
    for sample in network.input.encode(inputs, network.steps):
        frames = [sample] * network.steps if network.input.encoding == "direct" else sample
        machine.begin()
        for t in range(network.steps):
            logits.append(machine.step(frames[t], t))
            for label, state in machine.states.items():
                weights[label].append(state.fine)
    return logits, weights


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_reference_is_what_the_definitions_say(name, seed):
    network = plastic_network(RULES[name], seed)
    inputs = sample_inputs(network, 4, seed)
    result = ReferenceEngine(network, weights="step").run(inputs)
    logits, weights = by_hand(network, inputs)
    np.testing.assert_array_equal(result.step_logits.reshape(len(logits), -1), logits)
    for label, values in result.weights.items():
        np.testing.assert_array_equal(values.reshape(-1, *values.shape[2:]), weights[label])


@pytest.mark.parametrize("name", RULES)
def test_something_is_learned(name):
    """Otherwise equality would say little."""
    network = plastic_network(RULES[name])
    weights = ReferenceEngine(network, weights="step").run(sample_inputs(network, 4)).weights
    for label, values in weights.items():
        rule = rules_of(network)[label]
        seen = np.rint(values / 2**rule.fine_bits)
        assert len(np.unique(seen.reshape(-1, seen[0, 0].size), axis=0)) > 2, label


def test_which_weights_are_returned():
    network = plastic_network(RULES["samples, kept"])
    inputs = sample_inputs(network, 5)
    last, sample, step = (
        ReferenceEngine(network, weights=keep).run(inputs).weights
        for keep in ("last", "sample", "step")
    )
    for label, connection in plastic(network).items():
        shape = connection.operator.weight.shape
        assert last[label].shape == shape
        assert sample[label].shape == (5, *shape)
        assert step[label].shape == (5, network.steps, *shape)
        np.testing.assert_array_equal(sample[label], step[label][:, -1])
        np.testing.assert_array_equal(last[label], sample[label][-1])
    nothing = ReferenceEngine(network).run(inputs[:0]).weights
    for label, c in plastic(network).items():
        fine = c.operator.weight.astype(int) << rules_of(network)[label].fine_bits
        np.testing.assert_array_equal(nothing[label], fine)
    assert ReferenceEngine(vectors()).run(sample_inputs(vectors(), 2)).weights == {}
    with pytest.raises(InvalidSettingError, match="last, sample, step"):
        ReferenceEngine(network, weights="all")


# ------------------------------------------------------------- the pipeline, without and with Lava


def lockstep(network: IntegerNetwork, *batches: Any) -> tuple[Any, dict[str, Any]]:
    """Step logits and weights after every step, one run of the chip per batch."""
    plan = schedule(network)
    clock = Clock(plan, [network.input.name, *network.order, network.readout.name])
    capacity = max(map(len, batches))
    source = InputProgram(network, clock, capacity)
    populations = {
        name: PopulationProgram(network, name, plan, clock, capacity=capacity, weights="step")
        for name in network.order
    }
    readout = ReadoutProgram(network, plan, clock, capacity=capacity)
    programs: list[Any] = [source, readout, *populations.values()]
    logits: list[Any] = []
    weights: dict[str, list[Any]] = {label: [] for label in plastic(network)}
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
        for program in populations.values():
            for label, values in program.weights.items():
                weights[label].append(values[:n].copy())
    return np.concatenate(logits), {label: np.concatenate(v) for label, v in weights.items()}


def assert_pipeline_equal(network: IntegerNetwork, inputs: Any, *cuts: int) -> None:
    encoded = network.input.encode(inputs, network.steps)
    logits, weights = lockstep(network, *np.split(encoded, cuts))
    reference = ReferenceEngine(network, weights="step").run(inputs)
    np.testing.assert_array_equal(logits, reference.step_logits)
    for label, expected in reference.weights.items():
        np.testing.assert_array_equal(weights[label], expected, label)


@pytest.mark.parametrize("name", RULES)
def test_the_pipeline_equals_the_reference(name):
    """Several runs of the chip: weights that are kept go on from one to the next."""
    network = plastic_network(RULES[name])
    assert_pipeline_equal(network, sample_inputs(network, 7), 3, 4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_networks_and_rules_in_the_pipeline(seed):
    network = random_plastic_network(seed)
    assert_pipeline_equal(network, sample_inputs(network, 4, seed), 2)


@lava_only
@pytest.mark.parametrize("name", RULES)
def test_lava_equals_the_reference(name):
    """Every spike, state, logit, count, and every weight after every step."""
    network = plastic_network(RULES[name])
    inputs = sample_inputs(network, 5)
    reference = ReferenceEngine(network, weights="step").run(inputs, record="all")
    result = LavaEngine(network, timeout=120, weights="step").run(inputs, record="all")
    assert_equal(result, reference)
    assert_weights_equal(result.weights, reference.weights)


@lava_only
@pytest.mark.parametrize("keep", ["last", "sample"])
def test_lava_over_several_runs_of_the_chip(keep, monkeypatch):
    network = plastic_network(RULES["samples, kept"])
    inputs = sample_inputs(network, 9)
    reference = ReferenceEngine(network, weights=keep).run(inputs)
    monkeypatch.setattr(lava_engine, "MEMORY_BYTES", 1 << 13)
    result = LavaEngine(network, timeout=120, weights=keep).run(inputs)
    assert_equal(result, reference)
    assert_weights_equal(result.weights, reference.weights)
    assert LavaEngine(network).run(inputs[:0]).weights.keys() == result.weights.keys()


@lava_only
def test_verify_compares_every_weight():
    network = plastic_network(RULES["steps"])
    inputs = sample_inputs(network, 3)
    certificate = verify(network, inputs, ("reference", "lava"))
    assert certificate.equal
    assert certificate.learned == tuple(plastic(network))
    plain = verify(vectors(), sample_inputs(vectors(), 3), ("reference", "lava"))
    assert plain.learned == ()


def test_verify_finds_a_weight_that_differs(monkeypatch):
    """A weight that is off by one fine unit, and changes no spike."""
    network = plastic_network(RULES["steps"])

    class Wrong(ReferenceEngine):
        name = "lava"

        def run(self, *arguments: Any, **options: Any) -> Any:
            result = super().run(*arguments, **options)
            result.weights["one->two"][1, 2, 3, 4] += 1
            return replace(result, engine="lava")

    monkeypatch.setitem(ENGINES, "lava", Wrong)
    certificate = verify(network, sample_inputs(network, 3), ("reference", "lava"))
    found = certificate.first_difference
    assert found is not None
    assert (found.what, found.sample, found.step) == ("weights of one->two", 1, 2)
    assert found.index == (3, 4)
    assert found.got is not None
    assert found.expected is not None
    assert found.got == found.expected + 1


# ------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("engine", sorted(set(ENGINES) - set(LEARNING_ENGINES)))
def test_every_other_engine_refuses_by_name(engine):
    """A new engine has to decide."""
    needed = {"fast": "numba", "onnx": "onnxruntime", "nir": "nir", "ray": "ray"}[engine]
    pytest.importorskip(needed)
    with pytest.raises(UnsupportedError, match=r"got plastic connections: conv->one, one->two"):
        build_engine(engine, plastic_network(RULES["steps"]))


def test_the_default_engine_can_learn():
    assert default_engine(plastic_network(RULES["steps"])) == "reference"
    assert default_engine(vectors()) == default_engine()


def test_fine_tuning_refuses():
    pytest.importorskip("torch")
    from trispike.quantize.finetune.module import IntegerModule

    with pytest.raises(UnsupportedError, match="fine-tuning: got plastic connections"):
        IntegerModule(plastic_network(RULES["steps"]))


def test_fewer_steps_are_refused():
    network = plastic_network(RULES["steps"])
    inputs = sample_inputs(network, 2)
    labels = np.zeros(2, int)
    result = ReferenceEngine(network).run(inputs, labels, per_sample=True)
    profile = load_profile("loihi1")
    with pytest.raises(UnsupportedError, match="accuracy over time: got plastic"):
        anytime(network, inputs, result, profile)
    with pytest.raises(UnsupportedError, match="early exit: got plastic"):
        early_exit(network, inputs, labels, confidence=0.9, build=ReferenceEngine)


def test_sanafe_refuses():
    from trispike.targets.sanafe.prices import load_prices
    from trispike.targets.sanafe.replaying import replay

    network = plastic_network(RULES["steps"])
    with pytest.raises(UnsupportedError, match="SANA-FE: got plastic connections"):
        replay(network, {}, {"input": np.zeros((1, 4))}, load_prices().mesh)


def test_diagnosis_refuses():
    from trispike.runtime.diagnose import diagnose

    network = plastic_network(RULES["steps"])
    with pytest.raises(UnsupportedError, match="diagnosis: got plastic connections"):
        diagnose(network, network, sample_inputs(network, 2))


# ------------------------------------------------------------------------- energy and set points


def test_energy_names_the_updates_that_it_does_not_price():
    network = plastic_network(RULES["steps"])
    ledger = ReferenceEngine(network).run(sample_inputs(network, 2)).ledger
    estimate = estimate_energy(ledger, load_profile("loihi1"), network=network)
    (caveat,) = (c for c in estimate.caveats if "weight updates" in c)
    synapses = sum(np.count_nonzero(c.operator.weight) for c in plastic(network).values())
    assert f"{4 * synapses:,} weight updates per inference" in caveat
    assert "not priced" in caveat
    plain = make_plastic(network, dict.fromkeys(plastic(network)))
    assert not any(
        "weight updates" in c
        for c in estimate_energy(ledger, load_profile("loihi1"), network=plain).caveats
    )


@pytest.mark.parametrize("name", RULES)
def test_at_its_set_point_phi_averages_to_zero(name):
    network = plastic_network(RULES[name])
    inputs = sample_inputs(network, 60)
    rules = with_set_points(network, {"*": RULES[name]}, inputs)
    assert set(rules) == set(plastic(network))
    plain = make_plastic(network, dict.fromkeys(plastic(network)))
    records = ReferenceEngine(plain).run(inputs, record="all").records
    for label, rule in rules.items():
        assert rule is not None
        fired = records[plastic(network)[label].target]["s"].astype(float)
        counted = np.abs(fired) if rule.activity == "magnitude" else fired
        c, seen = np.zeros(counted.shape[::2]), []
        for t in range(network.steps):
            c = c * rule.post_decay / 4096 + counted[:, t]
            if rule.update == "step" or t == network.steps - 1:
                seen.append(c)
        activity = np.stack(seen).reshape(-1, c.shape[1])
        magnitude = np.abs(activity)
        theta = (activity**2).sum(axis=0) / np.maximum(magnitude.sum(axis=0), 1e-9)
        assert theta.max() > 0.9
        np.testing.assert_allclose(rule.theta / 2**rule.trace_shift, theta, atol=0.1)
    assert make_plastic(network, rules)


def test_set_points_keep_what_is_not_measured():
    network = vectors()
    inputs = sample_inputs(network, 5)
    rules = with_set_points(network, {"input->first": None, "*": RULES["steps"]}, inputs)
    assert rules["input->first"] is None
    assert set(rules) == {"input->first", "first->second", "second->third"}
    with pytest.raises(InvalidDataError, match="no samples"):
        with_set_points(network, {"*": RULES["steps"]}, inputs[:0])


def test_a_homeostatic_rule_brings_activity_back():
    """All weights halved: with eta < 0 the firing rate rises towards where it was."""
    network = vectors()
    inputs = sample_inputs(network, 200)
    rule = Plasticity.from_real(
        eta=-0.5, theta=0, pre_decay=1.0, activity="signed", update="sample", keep_weights=True
    )
    label = "first->second"
    rules = with_set_points(network, {label: rule}, inputs)

    def rate(weights: Any, learning: bool) -> float:
        connections = tuple(
            replace(c, operator=replace(c.operator, weight=weights(c.operator.weight)))
            if c.target == "second"
            else c
            for c in network.connections
        )
        made = replace(network, connections=connections)
        made = make_plastic(made, rules) if learning else made
        ledger = ReferenceEngine(made).run(inputs).ledger
        return ledger.firing_rate("second")

    def half(weight: Any) -> Any:
        return (weight / 2).astype(np.int8)

    whole, damaged, healed = rate(lambda w: w, False), rate(half, False), rate(half, True)
    assert damaged < 0.8 * whole
    assert healed > damaged + 0.3 * (whole - damaged)

"""Verification finds any single difference between two engines, and names the first one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, sample_inputs, saturation, vectors
from tests.runtime.floats import as_float
from trispike.errors import InvalidDataError, InvalidSettingError, SaturationError, UnsupportedError
from trispike.network import IntegerNetwork
from trispike.runtime import ReferenceEngine, Result, engines, verify

Change = Callable[[Result], Result | None]


@pytest.fixture
def other(monkeypatch):
    """Registers a second engine: the reference, with its results changed."""

    def register(change: Change = lambda result: None, name: str = "other") -> None:
        class Other(ReferenceEngine):
            def run(self, *args: Any, **kwargs: Any) -> Result:
                result = super().run(*args, **kwargs)
                return replace(change(result) or result, engine=name)

        monkeypatch.setitem(engines.ENGINES, name, Other)
        monkeypatch.setitem(engines._PACKAGES, name, "numpy")

    return register


def check(network: IntegerNetwork, samples: int = 5, **options: Any) -> verify.Certificate:
    return verify.verify(
        network, sample_inputs(network, samples), ("reference", "other"), **options
    )


@pytest.mark.parametrize("case", CASES)
def test_equal_engines_are_equal(case, other):
    other()
    network = CASES[case]()
    certificate = check(network)
    assert certificate.equal
    assert certificate.first_difference is None
    neurons = sum(p.size for p in network.populations.values())
    classes = network.readout.classes
    assert certificate.values_compared == 5 * network.steps * (4 * neurons + classes)
    assert certificate.samples == 5
    assert certificate.populations == len(network.populations)
    assert certificate.traces == ("s", "i", "c", "v")
    assert list(certificate.engines) == list(certificate.seconds) == ["reference", "other"]


def flip(name: str, trace: str, index: tuple[int, ...], by: int = 1) -> Change:
    def change(result: Result) -> None:
        result.records[name][trace][index] += by

    return change


@pytest.mark.parametrize("trace", ["s", "i", "c", "v"])
@pytest.mark.parametrize("case", ["vectors", "pooled_downsample"])
def test_one_changed_value_of_a_trace_is_named(case, trace, other):
    network = CASES[case]()
    name, population = list(network.populations.items())[1]
    place = tuple(n - 1 for n in population.shape)
    other(flip(name, trace, (3, 2, *place), -7))
    certificate = check(network)
    found = certificate.first_difference
    assert not certificate.equal
    assert found is not None
    true = ReferenceEngine(network).run(sample_inputs(network, 5), record="all").records[name]
    expected = int(true[trace][(3, 2, *place)])
    assert found == verify.Difference(
        engine="other", what=f"{name}.{trace}", sample=3, step=2, index=place,
        expected=expected, got=expected - 7,
    )  # fmt: skip
    assert type(found.expected) is type(found.got) is int


def test_large_states_are_reported_exactly(other):
    network = CASES["wide_state"]()
    other(flip("first", "v", (0, 0, 0, 0, 0)))
    found = check(network).first_difference
    assert found is not None
    assert found.got == (found.expected or 0) + 1


def both(*changes: Change) -> Change:
    def change(result: Result) -> None:
        for one in changes:
            one(result)

    return change


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        # the earlier sample, then the earlier step, then the earlier population, then i, c, v, s
        ([("third", "s", (1, 3)), ("first", "i", (2, 0))], ("third.s", 1, 3)),
        ([("third", "v", (1, 1)), ("first", "i", (1, 2))], ("third.v", 1, 1)),
        ([("third", "i", (1, 1)), ("second", "s", (1, 1))], ("second.s", 1, 1)),
        ([("second", "s", (1, 1)), ("second", "v", (1, 1))], ("second.v", 1, 1)),
        ([("second", "c", (1, 1)), ("second", "i", (1, 1))], ("second.i", 1, 1)),
    ],
)
def test_the_first_of_several_differences_is_named(changes, first, other):
    other(both(*(flip(name, trace, (*at, 4)) for name, trace, at in changes)))
    found = check(vectors()).first_difference
    assert found is not None
    assert (found.what, found.sample, found.step, found.index) == (*first, (4,))


def test_a_changed_logit_of_a_step_is_named(other):
    def change(result: Result) -> None:
        result.step_logits[2, 1, 0] -= 1

    other(change)
    found = check(vectors()).first_difference
    assert found is not None
    assert (found.what, found.sample, found.step, found.index) == ("step_logits", 2, 1, (0,))
    assert found.got == (found.expected or 0) - 1


def test_a_changed_sum_of_logits_is_named(other):
    def change(result: Result) -> None:
        result.logits[4, 2] += 3

    other(change)
    found = check(vectors()).first_difference
    assert found is not None
    assert (found.what, found.sample, found.step, found.index) == ("logits", 4, None, (2,))
    assert found.got == (found.expected or 0) + 3


def with_counts(group: str, name: str, entry: str, change: Callable[[Any], Any]) -> Change:
    def changed(result: Result) -> Result:
        parts = dict(getattr(result.ledger, group))
        parts[name] = replace(parts[name], **{entry: change(getattr(parts[name], entry))})
        return replace(result, ledger=replace(result.ledger, **{group: parts}))

    return changed


@pytest.mark.parametrize(
    ("group", "name", "entry"),
    [
        ("populations", "second", "spikes_negative"),
        ("populations", "first", "updates_with_input"),
        ("connections", "second->third", "synaptic_operations"),
        ("connections", "third->readout", "dense_operations"),
    ],
)
def test_a_changed_count_is_named_with_its_step(group, name, entry, other):
    other(with_counts(group, name, entry, lambda counts: counts + np.array([0, 0, 2, 1])))
    found = check(vectors()).first_difference
    assert found is not None
    assert found.what == f"ledger {group}/{name}/{entry}"
    assert (found.sample, found.step, found.index) == (None, 2, None)
    assert found.got == (found.expected or 0) + 2


def test_a_changed_number_of_synapses_is_named(other):
    other(with_counts("connections", "first->third", "synapses", lambda n: n + 1))
    found = check(vectors()).first_difference
    assert found == verify.Difference(
        engine="other", what="ledger connections/first->third/synapses"
    )


def test_the_engine_that_differs_is_named(other):
    other(name="same")
    other(flip("first", "s", (0, 0, 0)), name="wrong")
    network = vectors()
    for names in (("reference", "same", "wrong"), ("reference", "wrong", "same")):
        certificate = verify.verify(network, sample_inputs(network, 2), names)
        assert not certificate.equal
        assert certificate.first_difference is not None
        assert certificate.first_difference.engine == "wrong"


@pytest.mark.parametrize("what", ["second.v", "logits"])
def test_many_samples_are_compared_in_parts(what, other, monkeypatch):
    """The number of the sample is that in the whole data; what comes after it is not run."""
    runs: list[int] = []

    def change(result: Result) -> None:
        runs.append(len(result.logits))
        if len(runs) == 2 and what == "logits":
            result.logits[1, 0] += 1
        elif len(runs) == 2:
            result.records["second"]["v"][1, 0, 0] += 1

    other(change)
    network = vectors()
    per_sample = sum(p.size for p in network.populations.values()) * network.steps * 25
    monkeypatch.setattr(verify, "RECORD_BYTES", 3 * per_sample)
    finished: list[int] = []
    certificate = check(network, samples=11, progress=finished.append)
    assert certificate.first_difference is not None
    assert certificate.first_difference.sample == 3 + 1
    assert runs == [3, 3]
    assert sum(finished) == 12
    runs.append(0)  # from now on nothing is changed
    whole = check(network, samples=11)
    assert whole.equal
    assert whole.values_compared == 11 * network.steps * (
        4 * sum(p.size for p in network.populations.values()) + network.readout.classes
    )
    assert min(whole.seconds.values()) > 0
    assert runs[3:] == [3, 3, 3, 2]


def test_hashes_tell_networks_and_data_apart(other):
    other()
    network = vectors()
    inputs = sample_inputs(network, 3)

    def hashes(network: IntegerNetwork, inputs: Any) -> tuple[str, str]:
        certificate = verify.verify(network, inputs, ("reference", "other"))
        return certificate.network_sha256, certificate.data_sha256

    first = hashes(network, inputs)
    assert first == hashes(vectors(), inputs.copy())
    assert [len(h) for h in first] == [64, 64]
    bias = network.readout.bias + np.array([0, 0, 1])
    changed = hashes(replace(network, readout=replace(network.readout, bias=bias)), inputs)
    assert changed[0] != first[0]
    assert changed[1] == first[1]
    for other_inputs in (inputs[:2], inputs + 1e-9, inputs.astype(np.float32), inputs[::-1]):
        changed = hashes(network, other_inputs)
        assert changed[0] == first[0]
        assert changed[1] != first[1]
    # The same bytes as another type are other data; their order in memory is no part of them.
    bits = np.ones((2, 10), np.int8)
    assert hashes(network, bits)[1] != hashes(network, bits.view(np.uint8))[1]
    assert hashes(network, np.asfortranarray(inputs)) == first


def test_the_certificate_as_json_values(other):
    other(flip("first", "s", (0, 1, 2)))
    plain = check(vectors()).to_dict()
    assert plain["equal"] is False
    assert plain["first_difference"]["what"] == "first.s"
    assert plain["engines"]["reference"].startswith("numpy ")


@pytest.mark.parametrize("names", [(), ("reference",), ("reference", "reference")])
def test_fewer_than_two_engines_are_refused(names):
    text = "engines: got .*; expected at least two different names"
    with pytest.raises(InvalidSettingError, match=text):
        verify.verify(vectors(), sample_inputs(vectors(), 1), names)


def test_unknown_engines_are_refused():
    with pytest.raises(InvalidSettingError, match="engine 'chip': got an unknown name"):
        verify.verify(vectors(), sample_inputs(vectors(), 1), ("reference", "chip"))


@pytest.mark.parametrize("data", [np.zeros((0, 10)), np.zeros(()), []])
def test_no_data_prove_nothing(data, other):
    other()
    with pytest.raises(InvalidDataError, match="data: got no samples; expected at least one"):
        verify.verify(vectors(), data, ("reference", "other"))


def test_data_of_another_shape_are_refused(other):
    other()
    with pytest.raises(InvalidDataError, match=r"data: got an array of shape \(2, 9\)"):
        verify.verify(vectors(), np.zeros((2, 9)), ("reference", "other"))


def test_options_reach_every_engine(other):
    other()
    assert check(saturation()).equal
    with pytest.raises(SaturationError):
        check(saturation(), strict=True)


def test_an_engine_for_integers_refuses_float_networks():
    pytest.importorskip("lava", reason="Lava is not installed")
    from tests.runtime.floats import CASES as FLOATS

    with pytest.raises(UnsupportedError, match="got a float network; expected an integer network"):
        verify.verify(FLOATS["frames"](), np.zeros((1, 4, 2, 6, 5)))


@pytest.mark.parametrize(("by", "equal"), [(1e-13, True), (1e-6, False), (float("nan"), False)])
def test_states_of_float_networks_may_differ_by_rounding(by, equal, other):
    network = as_float(CASES["vectors"]())
    name = network.order[1]
    place = tuple(n - 1 for n in network.populations[name].shape)
    other(flip(name, "v", (1, 2, *place), by))
    certificate = check(network)
    assert certificate.equal is equal
    assert certificate.tolerance == 1e-9
    assert certificate.unequal_engines == (() if equal else ("other",))


def test_spikes_of_float_networks_have_to_be_equal(other):
    network = as_float(CASES["vectors"]())
    name = network.order[1]
    other(flip(name, "s", (1, 2, *(0 for _ in network.populations[name].shape))))
    found = check(network).first_difference
    assert found is not None
    assert found.what == f"{name}.s"


def test_engines_that_differ_are_told_from_those_that_do_not(other):
    network = vectors()
    name = network.order[0]
    other()
    other(flip(name, "v", (0, 0, *(0 for _ in network.populations[name].shape))), "broken")
    certificate = verify.verify(
        network, sample_inputs(network, 2), ("reference", "other", "broken")
    )
    assert certificate.unequal_engines == ("broken",)
    assert certificate.tolerance == 0

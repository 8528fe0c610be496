"""Plastic networks: who may be one, how weights are carried along, and their files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.networks import CASES, as_float, sample_inputs, vectors
from tests.plastic import RULES, plastic_network, rules_of
from trispike.errors import (
    FileFormatError,
    InvalidDataError,
    InvalidNetworkError,
    InvalidSettingError,
    UnsupportedError,
)
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    Identity,
    Plasticity,
    digest,
    equal,
    load,
    make_plastic,
    save,
    summary,
)
from trispike.network.dynamics import time_steps
from trispike.network.learning import (
    Learner,
    plastic,
    refuse_plastic,
    updates_per_sample,
    widest,
    with_learned,
)
from trispike.network.rules import load_rules, rule_facts
from trispike.runtime import ReferenceEngine

RULE = RULES["steps"]


def test_rules_come_and_go():
    network = vectors()
    one = next(label for label, c in network.labelled() if c.target != "readout")
    ruled = make_plastic(network, {one: RULE})
    assert list(plastic(ruled)) == [one]
    assert digest(ruled) != digest(network)
    assert equal(make_plastic(ruled, {one: None}), network)
    every = make_plastic(network, {"*": RULE, one: None})
    assert one not in plastic(every)
    assert list(plastic(make_plastic(network, {"*": RULE}))) == [
        "input->first", "first->second", "second->third"
    ]  # fmt: skip


def test_what_cannot_be_plastic():
    network = vectors()
    with pytest.raises(InvalidSettingError, match="these can be plastic: input->first"):
        make_plastic(network, {"nowhere->first": RULE})
    with pytest.raises(InvalidNetworkError, match="a readout as target"):
        make_plastic(network, {network.labels[-1]: RULE})
    with pytest.raises(UnsupportedError, match="a float network"):
        make_plastic(as_float(network), {"*": RULE})
    convolutional = CASES["static_form"]()
    with pytest.raises(InvalidSettingError, match="no dense connection into a population"):
        make_plastic(convolutional, {"*": RULE})
    with pytest.raises(InvalidNetworkError, match=r"integer Conv2d.*shared"):
        make_plastic(convolutional, {"input->first": RULE})


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        (Conv2d(weight=np.ones((1, 1, 1, 1), np.int8)), "integer Conv2d"),
        (Identity(scale=np.ones((), np.int8)), "integer Identity"),
        (Dense(weight=np.ones((1, 1))), "float Dense"),
    ],
)
def test_only_integer_matrices(operator, kind):
    with pytest.raises(InvalidNetworkError, match=kind):
        Connection(sources=("a",), target="b", operator=operator, plasticity=RULE)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (replace(RULE, low=-3), "trained weights from -9 to 5"),
        (replace(RULE, high=4), "trained weights from -9 to 5"),
        (replace(RULE, theta=[1, 2, 3]), "3 values of theta"),
        (replace(RULE, high=100), "within -15..15"),
    ],
)
def test_rules_fit_their_connection(rule, message):
    weight = np.array([[-9, 0], [5, 1]], np.int8)
    with pytest.raises(InvalidNetworkError, match=message):
        Connection(
            sources=("a",), target="b", operator=Dense(weight=weight), bits=5, plasticity=rule
        )


@pytest.mark.parametrize("name", RULES)
def test_comes_back_from_its_file(name, tmp_path):
    network = plastic_network(replace(RULES[name], theta=np.int64(7)))
    save(network, tmp_path / "net")
    again = load(tmp_path / "net")
    assert equal(again, network)
    ours, theirs = rules_of(network), rules_of(again)
    assert ours.keys() == theirs.keys()
    assert all(rule.equals(theirs[label]) for label, rule in ours.items())
    assert summary(again).count("plastic") == len(plastic(network)) == 4


def test_files_without_rules_stay_what_they_were(tmp_path):
    """The field is left out, so that digests of older networks do not change."""
    network = vectors()
    save(network, tmp_path / "net")
    assert b"plasticity" not in (tmp_path / "net").read_bytes()


def test_weights_of_a_file_change_nothing_but_themselves():
    """With eta and eps 0 a plastic network is the network."""
    network = plastic_network(RULE)
    plain = make_plastic(network, dict.fromkeys(plastic(network)))
    still = make_plastic(network, dict.fromkeys(plastic(network), Plasticity(eta=0)))
    inputs = sample_inputs(network, 4)
    a, b = (ReferenceEngine(n).run(inputs, record="all") for n in (plain, still))
    assert a.ledger.differences(b.ledger) == []
    np.testing.assert_array_equal(a.step_logits, b.step_logits)


def test_samples_are_independent_unless_weights_are_kept():
    inputs = sample_inputs(plastic_network(RULE), 6)
    order = np.array([3, 1, 5, 0, 2, 4])
    for name, rule in RULES.items():
        network = plastic_network(rule)
        forward = ReferenceEngine(network).run(inputs).step_logits
        shuffled = ReferenceEngine(network).run(inputs[order]).step_logits
        same = np.array_equal(forward[order], shuffled)
        assert same == (not rule.keep_weights), name


def test_runs_begin_with_the_trained_weights():
    network = plastic_network(RULES["samples, kept"])
    engine, inputs = ReferenceEngine(network), sample_inputs(network, 3)
    a, b = engine.run(inputs), engine.run(inputs)
    np.testing.assert_array_equal(a.step_logits, b.step_logits)


def test_several_samples_at_once_are_refused():
    network = plastic_network(RULE)
    encoded = network.input.encode(sample_inputs(network, 2), network.steps)
    with pytest.raises(InvalidDataError, match="2 samples at once"):
        next(time_steps(network, encoded))


def test_a_learner_of_some_targets():
    learner = Learner(plastic_network(RULE), ("one",))
    assert list(learner.fine) == ["conv->one"]


def test_learned_weights_become_fixed_ones():
    network = plastic_network(RULES["samples, kept"])
    inputs = sample_inputs(network, 5)
    result = ReferenceEngine(network).run(inputs)
    fixed = with_learned(network, result.weights)
    assert not plastic(fixed)
    assert not equal(fixed, make_plastic(network, dict.fromkeys(plastic(network))))
    # The sixth sample of a longer run begins with the same weights, and changes them at its end.
    more = sample_inputs(network, 6)
    longer = ReferenceEngine(network).run(np.concatenate([inputs, more[5:]]))
    alone = ReferenceEngine(fixed).run(more[5:])
    np.testing.assert_array_equal(longer.step_logits[5], alone.step_logits[0])
    with pytest.raises(InvalidDataError, match="learned weights"):
        with_learned(network, {})
    every = ReferenceEngine(network, weights="sample").run(inputs)
    with pytest.raises(InvalidDataError, match="weights='last'"):
        with_learned(network, every.weights)


def test_bounds_and_updates():
    network = plastic_network(replace(RULES["narrow"], update="sample"))
    updates = updates_per_sample(network)
    for label, connection in plastic(network).items():
        wide = widest(connection)
        exists = connection.operator.weight != 0
        np.testing.assert_array_equal(wide.operator.weight, np.where(exists, 102, 0))
        assert updates[label] == exists.sum()
    assert widest(network.connections[0]) is network.connections[0]
    per_step = updates_per_sample(plastic_network(RULE))
    assert per_step == {label: 4 * count for label, count in updates.items()}


def test_refusal_names_who_and_what():
    with pytest.raises(UnsupportedError, match=r"^abacus: got plastic connections: conv->one, "):
        refuse_plastic(plastic_network(RULE), "abacus")
    refuse_plastic(vectors(), "abacus")


# ------------------------------------------------------------------------------- files of rules


def test_rules_from_a_file(tmp_path):
    path = tmp_path / "rules.json"
    integer = rule_facts(replace(RULE, theta=[1, 2]))
    path.write_text(
        json.dumps(
            {
                "a->b": {"eta": 0.5, "theta": 1.0, "eps": 0.01},
                "b->c": None,
                "c->d": integer,
                "*": {"eta": -1e-3, "theta": "measured", "update": "sample"},
            }
        )
    )
    rules, measured = load_rules(path)
    for label, expected in (("a->b", RULE), ("c->d", replace(RULE, theta=[1, 2]))):
        rule = rules[label]
        assert rule is not None
        assert rule.equals(expected)
    assert rules["b->c"] is None
    assert measured == {"*"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "the JSON value"),
        ("{}", "the JSON value"),
        ('{"a->b": 3}', "'a->b': 3"),
        ('{"a->b": {"eta": 1}}', "theta"),
        ('{"a->b": {"eta": 1, "theta": 0, "beta": 2}}', "beta"),
        ('{"a->b": {"eta": 1, "theta": -1}}', "plasticity field 'theta'"),
        ('{"a->b": {"eta": 1, "theta": "x"}}', "'a->b'"),
        ('{"a->b": {"eta": 99999, "eta_shift": 1}}', "plasticity field 'eta'"),
    ],
)
def test_broken_files_of_rules(text, message, tmp_path):
    path = tmp_path / "rules.json"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=message):
        load_rules(path)


def test_no_file_of_rules(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_rules(tmp_path / "none.json")

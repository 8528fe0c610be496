"""The plasticity rule: its arithmetic, against plain Python integers, and what it refuses."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trispike.errors import InvalidNetworkError, InvalidSettingError
from trispike.network import Plasticity
from trispike.network.plasticity import TRACE_LIMIT, PlasticState


def toward_zero(value: int, bits: int) -> int:
    """The quotient by 2**bits without its fraction."""
    return -((-value) >> bits) if value < 0 else value >> bits


def clipped(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def by_hand(
    rule: Plasticity, trained: Any, bits: int, samples: Any, steps: int
) -> tuple[list[Any], list[Any]]:
    """Fine and seen weights after every step, one weight at a time, in integers without limits."""
    outputs, inputs = trained.shape
    theta = np.broadcast_to(rule.theta, (outputs,))
    top = (1 << (bits - 1)) - 1
    low = -top if rule.low is None else rule.low
    high = top if rule.high is None else rule.high
    start = [[int(w) << rule.fine_bits for w in row] for row in trained]
    fine, post = [row[:] for row in start], [0] * outputs
    all_fine, all_seen = [], []
    for received, fired in samples:
        pre = [0] * inputs
        if not rule.keep_weights:
            fine = [row[:] for row in start]
        if not rule.keep_activity:
            post = [0] * outputs
        for t in range(steps):
            for j in range(inputs):
                kept = toward_zero(pre[j] * rule.pre_decay, 12)
                pre[j] = clipped(
                    kept + (int(received[t][j]) << rule.trace_shift), -TRACE_LIMIT, TRACE_LIMIT
                )
            for i in range(outputs):
                s = int(fired[t][i])
                s = abs(s) if rule.activity == "magnitude" else s
                kept = toward_zero(post[i] * rule.post_decay, 12)
                post[i] = clipped(kept + (s << rule.trace_shift), -TRACE_LIMIT, TRACE_LIMIT)
                if rule.update == "sample" and t < steps - 1:
                    continue
                c = post[i]
                phi = toward_zero(c * (abs(c) - int(theta[i])), rule.trace_shift)
                phi = toward_zero(phi * rule.k, 12)
                for j in range(inputs):
                    anchor = start[i][j] if rule.toward == "trained" else 0
                    change = toward_zero(phi * pre[j] * rule.eta, rule.eta_shift)
                    change -= toward_zero((fine[i][j] - anchor) * rule.eps, 12)
                    limits = low << rule.fine_bits, high << rule.fine_bits
                    if trained[i][j]:
                        fine[i][j] = clipped(fine[i][j] + change, *limits)
            all_fine.append([row[:] for row in fine])
            half = (1 << rule.fine_bits) / 2
            all_seen.append(
                [
                    [
                        (1 if w >= 0 else -1) * int((abs(w) + half) // (1 << rule.fine_bits))
                        if rule.fine_bits
                        else w
                        for w in row
                    ]
                    for row in fine
                ]
            )
    return all_fine, all_seen


def random_rule(seed: int) -> Plasticity:
    """Every constant over its whole range, with extremes."""
    rng = np.random.default_rng(seed)

    def number(low: int, high: int) -> int:
        return int(rng.choice([low, high, rng.integers(low, high + 1)], p=[0.1, 0.2, 0.7]))

    return Plasticity(
        eta=number(-4096, 4096),
        eta_shift=number(0, 30),
        theta=rng.integers(0, TRACE_LIMIT + 1, 3) if seed % 3 else number(0, 500),
        k=number(0, 1 << 16),
        eps=number(0, 4096) if seed % 2 else 0,
        toward=["zero", "trained"][seed % 2],
        pre_decay=number(0, 4096),
        post_decay=number(0, 4096),
        activity=["magnitude", "signed"][(seed // 2) % 2],
        trace_shift=number(0, 12),
        fine_bits=number(0, 16),
        low=[None, -110, -127][seed % 3],
        high=[None, 120][seed % 2],
        update=["step", "sample"][(seed // 4) % 2],
        keep_weights=bool(seed // 8 % 2),
        keep_activity=bool(seed // 16 % 2),
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_equals_integers_without_limits(seed):
    """Also shows that no product exceeds 63 bits, whatever the constants."""
    rule, rng, steps = random_rule(seed), np.random.default_rng(seed), 4
    trained = (rng.integers(-100, 101, (3, 5)) * (rng.random((3, 5)) < 0.8)).astype(np.int8)
    samples = [
        (rng.integers(-127, 128, (steps, 5)), rng.integers(-1, 2, (steps, 3))) for _ in range(3)
    ]
    all_fine, all_seen = by_hand(rule, trained, 8, samples, steps)
    state = rule.start(trained)
    moments = iter(zip(all_fine, all_seen, strict=True))
    for received, fired in samples:
        state = rule.begin_sample(state, trained)
        for t in range(steps):
            last = t == steps - 1
            state = rule.step(state, trained, 8, received[t], fired[t], last=last)
            fine, seen = next(moments)
            np.testing.assert_array_equal(state.fine, fine)
            np.testing.assert_array_equal(rule.weights(state), seen)


def test_largest_products_fit():
    """Everything at its upper end: traces, theta 0, k 16, eta 1, no shift."""
    rule = Plasticity(eta=4096, k=1 << 16, trace_shift=0, fine_bits=0, pre_decay=4096)
    trained = np.array([[1]], np.int8)
    state = PlasticState(np.array([[1]]), np.array([TRACE_LIMIT]), np.array([TRACE_LIMIT]))
    exact = toward_zero(TRACE_LIMIT**2 * (1 << 16), 12) * TRACE_LIMIT * 4096
    assert exact < 2**62
    after = rule.step(state, trained, 8, np.array([127]), np.array([1]), last=True)
    assert after.fine[0, 0] == 127  # saturated upwards, not wrapped around
    down = dataclasses.replace(rule, eta=-4096)
    after = down.step(state, trained, 8, np.array([127]), np.array([1]), last=True)
    assert after.fine[0, 0] == -127


def test_small_updates_add_up():
    """A tenth of a weight per sample, which whole weights would lose."""
    rule = Plasticity.from_real(
        eta=0.1, theta=0.0, update="sample", keep_weights=True, trace_shift=4
    )
    trained = np.array([[10]], np.int8)
    state, seen = rule.start(trained), []
    for _ in range(20):
        state = rule.begin_sample(state, trained)
        state = rule.step(state, trained, 8, np.array([1]), np.array([1]), last=True)
        seen.append(int(rule.weights(state)[0, 0]))
    assert seen[:3] == [10, 10, 10]
    assert seen[-1] == 12


def test_absent_synapses_stay_absent():
    rule = Plasticity.from_real(eta=10.0, theta=0.0)
    trained = np.array([[0, 3]], np.int8)
    state = rule.step(rule.start(trained), trained, 8, np.ones(2), np.ones(1), last=True)
    assert rule.weights(state).tolist() == [[0, 13]]


def test_sign_of_eta_decides_what_activity_above_theta_does():
    trained = np.array([[50]], np.int8)
    for eta, expected in ((1.0, 60), (-1.0, 40)):
        rule = Plasticity.from_real(eta=eta, theta=0.0)
        state = rule.start(trained)
        spike = np.ones(1)
        for _ in range(2):  # c is 1, then 2: phi is 1, then 4
            state = rule.step(state, trained, 8, 2 * spike, spike, last=False)
        assert rule.weights(state).tolist() == [[expected]]


def test_the_sliding_threshold_is_the_simplified_rule():
    """c * (c - theta) with theta = theta_M * k + c * (1 - k) is k * c * (c - theta_M)."""
    rng = np.random.default_rng(0)
    c, theta_m, k = rng.random((3, 1000)) * 5
    sliding = theta_m * k + c * (1 - k)
    np.testing.assert_allclose(c * (c - sliding), k * c * (c - theta_m), atol=1e-12)


def test_real_numbers_become_the_nearest_integers():
    rule = Plasticity.from_real(
        eta=0.01, theta=[0.5, 2.0], eps=0.125, zeta=0.5, sigma=3.0, mu=1.5, post_decay=0.9
    )
    assert rule.theta.tolist() == [32, 128]
    assert (rule.eps, rule.k, rule.post_decay) == (512, 4096, 3686)
    rate = rule.eta / 2**rule.eta_shift * 2.0 ** (2 * rule.trace_shift - rule.fine_bits)
    assert rate == pytest.approx(0.01, rel=2e-4)
    assert Plasticity.from_real(eta=0, theta=0).eta == 0


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"eta": 1e9}, "smaller eta"),
        ({"eta": float("nan")}, "eta of a plasticity rule"),
        ({"eta": 1e-30}, "larger eta"),
        ({"eta": 0.1, "k": 1.0, "zeta": 1.0}, "k, or all of zeta, sigma and mu"),
        ({"eta": 0.1, "zeta": 1.0, "sigma": 1.0, "mu": 0.0}, "mu not 0"),
        ({"eta": 0.1, "eps": float("inf")}, "eps of a plasticity rule"),
    ],
)
def test_real_numbers_without_an_integer_form(numbers, message):
    with pytest.raises(InvalidSettingError, match=message):
        Plasticity.from_real(**{"theta": 1.0, **numbers})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("eta", 5000),
        ("eta_shift", -1),
        ("theta", -1),
        ("theta", TRACE_LIMIT + 1),
        ("theta", np.zeros((2, 2), int)),
        ("theta", np.zeros(0, int)),
        ("k", 1 << 17),
        ("eps", 4097),
        ("toward", "nowhere"),
        ("pre_decay", 0.5),
        ("post_decay", -1),
        ("activity", "loud"),
        ("trace_shift", 13),
        ("fine_bits", 17),
        ("low", -128),
        ("high", 128),
        ("update", "never"),
        ("keep_weights", 1),
        ("keep_activity", "yes"),
    ],
)
def test_every_constant_has_a_range(field, value):
    with pytest.raises(InvalidNetworkError, match=f"plasticity field '{field}'"):
        Plasticity(**{"eta": 1, field: value})


def test_every_field_is_checked_or_compared():
    """A new field has to be added above, and to equals."""
    rule = Plasticity(eta=1)
    for field in dataclasses.fields(Plasticity):
        value = getattr(rule, field.name)
        other = {
            "toward": "trained", "activity": "signed", "update": "sample", "low": -3, "high": 3,
            "keep_weights": True, "keep_activity": True,
        }.get(field.name)  # fmt: skip
        changed = dataclasses.replace(
            rule, **{field.name: int(value) // 2 + 2 if other is None else other}
        )
        assert not changed.equals(rule), field.name
    assert rule.equals(Plasticity(eta=1))
    assert not rule.equals(1)

"""From figures to advice: rules with written thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from trispike.runtime.diagnose.content import (
    Advice,
    ConnectionDiagnosis,
    InputDiagnosis,
    Knob,
    PopulationDiagnosis,
    ReadoutDiagnosis,
)
from trispike.runtime.diagnose.scales import SCALE_MISMATCH

TARGET_SQNR_DB = 20.0
"""Below this, the error is more than a tenth of the current: the current itself is at fault."""

SPIKE_ERROR = 0.01
"""Wrong spikes of a layer by itself that are worth advice: one in a hundred."""

SENSITIVE = 0.05
"""Wrong spikes of a layer whose current is right: one in twenty."""

ACCUMULATED = 0.10
"""Wrong spikes of a layer with its own inputs, although every layer by itself is right."""

GAIN_DB = 3.0
"""What another granularity or clipping has to add to the weights' SQNR: half of the error."""

BIT_DB = 6.02
"""What one more bit adds: 20 log10(2)."""

MOST_BITS = 8
"""Of a weight."""

FEW_BITS = 4
"""Weights of at most so many bits gain from fine-tuning, too."""

MOST_STATE_BITS, MOST_STATE_SHIFT = 32, 16
"""Of a state."""

THRESHOLD_BITS = 10
"""Significant bits that a threshold should have: a rounding error of a thousandth."""

COARSE = 0.5
"""Rounding error of a threshold that counts, relative to the error of the current."""

CLIPPED_INPUT = 1e-3
"""Values of the input that may lie beyond the calibrated range."""

CLIPPED_WEIGHTS = 0.01
"""Weights that may lie beyond the largest integer before that is called clipping."""

NEW_SHARE = 0.05
"""Neurons that became dead, or always fire, of a population."""

OLD_SHARE = 0.5
"""Neurons that were so in the float network already."""

ENOUGH_SAMPLES = 256
"""Below this, neurons that never fire, or always, may be so by chance of the samples."""

RATE_SHIFT = 0.10
"""Change of a layer's firing rate by itself, relative to the float network's."""

CHANGED_PREDICTIONS = 0.01
"""Predictions that change, because of the readout alone or with all errors together."""

RULES = {
    "input": "the input is clipped, or too coarse",
    "saturation": "states left their range",
    "thresholds": "thresholds do not belong to the weights",
    "dead": "neurons stopped firing because of the quantization",
    "always": "neurons always fire because of the quantization",
    "current": "the error of the current is more than a tenth of it",
    "coarse": "thresholds have few bits, and their rounding counts beside the current's error",
    "sensitive": "the current is right, but spikes differ",
    "rate": "the firing rate moved, although the current is right",
    "readout": "predictions change because of the readout",
    "accumulation": "small errors add up over the layers",
    "trained": "neurons are dead, or always fire, in the float network already",
}
"""What each rule looks for."""


def advise(
    given: InputDiagnosis,
    input_name: str,
    populations: Sequence[PopulationDiagnosis],
    connections: Sequence[ConnectionDiagnosis],
    readout: ReadoutDiagnosis,
    samples: int,
) -> tuple[Advice, ...]:
    """What to do, the worst first, as so many samples show it."""
    found = list(_input(given, input_name))
    for population in populations:
        incoming = [c for c in connections if c.target == population.name]
        found += _states(population)
        found += _extremes(population, incoming, samples)
        found += _currents(population, incoming)
        found += _trained(population, samples)
    found += _readout(readout, [c for c in connections if c.target == readout.name])
    if not any(a.rule != "trained" for a in found):
        found += _accumulation(populations, readout)
    return tuple(sorted(found, key=lambda a: -a.severity))  # stable: equal ones as in the network


def guilty_layer(
    populations: Sequence[PopulationDiagnosis], readout: ReadoutDiagnosis
) -> str | None:
    """The population with the largest spike error of its own; None where none has one.

    Without any, it is the readout, if predictions change because of it alone.
    """
    worst = max(populations, key=lambda p: p.forced.spike_error, default=None)
    if worst is not None and worst.forced.spike_error > 0:
        return worst.name
    return readout.name if readout.forced_prediction_agreement < 1 else None


def _input(given: InputDiagnosis, name: str) -> Iterator[Advice]:
    if given.clipped > CLIPPED_INPUT:
        yield Advice(
            rule="input",
            layer=name,
            connection=None,
            knob="calibration",
            finding=f"{_percent(given.clipped)} of the input values are beyond the range that the "
            "calibration data had",
            action="Quantize with calibration data that cover these, scaled as these are.",
            severity=given.clipped,
        )
    elif given.sqnr_db is not None and given.sqnr_db < TARGET_SQNR_DB:
        yield Advice(
            rule="input",
            layer=name,
            connection=None,
            knob="calibration",
            finding=f"the input has an SQNR of {_db(given.sqnr_db)}: its values are small in the "
            "range that the calibration data had",
            action="Quantize with calibration data without outliers, scaled as these are.",
            severity=min(1.0, 10 ** (-given.sqnr_db / 20)),
        )


def _states(p: PopulationDiagnosis) -> Iterator[Advice]:
    saturated = sum(p.own.saturations)
    factor = p.threshold_factor
    if saturated:
        knob, action = _more_room(p)
        yield _about(
            p, "saturation", knob, f"{saturated:,} values of its states left the range of "
            f"{p.state_bits} bits", action,
        )  # fmt: skip
    if factor is not None and not 1 / SCALE_MISMATCH <= factor <= SCALE_MISMATCH:
        yield _about(
            p, "thresholds", "thresholds",
            f"its integer thresholds are {factor:.3g} times those that fit its weights",
            "Quantize this population again from this float network, or correct its thresholds.",
        )  # fmt: skip


def _more_room(p: PopulationDiagnosis) -> tuple[Knob, str]:
    """How to keep states within their range: a smaller shift, if thresholds stay fine enough."""
    bits = max(1, math.ceil(-p.headroom_bits))
    fine = p.threshold_bits is None or p.threshold_bits - bits >= THRESHOLD_BITS
    if fine and p.state_shift >= bits:
        return "state shift", f"Lower its state shift by {bits} (to {p.state_shift - bits})."
    width = min(MOST_STATE_BITS, p.state_bits + bits)
    if width > p.state_bits:
        return "state bits", f"Give its states {width} bits (--state-bits {width})."
    return "fine-tuning", "Fine-tune the integer network: its states cannot be wider."


def _hasty(samples: int, action: str) -> str:
    """The action, after a look at more samples where these are few."""
    if samples >= ENOUGH_SAMPLES:
        return action
    return f"Look at {ENOUGH_SAMPLES} samples or more first; if it is still so: " + (
        action[0].lower() + action[1:]
    )


def _extremes(
    p: PopulationDiagnosis, incoming: list[ConnectionDiagnosis], samples: int
) -> Iterator[Advice]:
    for rule, new, words in (
        ("dead", p.dead_new, "never fire, but did in the float network"),
        ("always", p.always_new, "fire at every step, but did not in the float network"),
    ):
        if new.count and new.count >= NEW_SHARE * p.neurons:
            knob, action = _cause_of_extremes(p, incoming)
            which = ", ".join(map(_index, new.first[:3])) + (", ..." if new.count > 3 else "")
            yield _about(
                p, rule, knob, f"{new.count:,} of {p.neurons:,} neurons {words} ({which}), "
                f"judged by {samples:,} samples", _hasty(samples, action),
                severity=max(p.forced.spike_error, new.count / p.neurons),
            )  # fmt: skip


def _cause_of_extremes(
    p: PopulationDiagnosis, incoming: list[ConnectionDiagnosis]
) -> tuple[Knob, str]:
    factor = p.threshold_factor
    zeroed = next((c for c in incoming if c.zeroed_channels), None)
    if factor is not None and not 1 / SCALE_MISMATCH <= factor <= SCALE_MISMATCH:
        return "thresholds", "Correct its thresholds, or quantize this population again."
    if any(p.forced.saturations):
        return _more_room(p)
    if zeroed is not None and p.is_one_scale:
        return "granularity", _granularity_action(zeroed)
    if zeroed is not None and zeroed.bits < MOST_BITS:
        return "weight bits", f"Give {zeroed.label} more than {zeroed.bits} bits."
    if p.threshold_bits is None or p.threshold_bits < THRESHOLD_BITS:
        return _finer(p)
    if _is_low(p.forced.sqnr_db_total):
        worst = _worst(incoming)
        if worst is not None and worst.bits < MOST_BITS:
            return "weight bits", f"Give {worst.label} more than {worst.bits} bits."
    return "fine-tuning", "Fine-tune the integer network: no setting of the quantizer explains it."


def _currents(p: PopulationDiagnosis, incoming: list[ConnectionDiagnosis]) -> Iterator[Advice]:
    own = p.forced
    coarse = _is_coarse(p)
    if own.spike_error < SPIKE_ERROR:
        return
    if _is_low(own.sqnr_db_total):
        yield from _weights("current", p.name, own.sqnr_db_total, incoming, own.spike_error, p)
    if coarse:
        knob, action = _finer(p)
        yield _about(
            p, "coarse", knob,
            f"its smallest threshold has {p.threshold_bits} significant bits", action,
        )  # fmt: skip
    if _is_low(own.sqnr_db_total) or coarse or any(own.saturations):
        return
    before, after = (math.fsum(r) / len(r) for r in (p.rate_float, own.rate_integer))
    if abs(after - before) > RATE_SHIFT * before:
        yield _about(
            p, "rate", "fine-tuning",
            f"it fires {_percent(after)} instead of {_percent(before)} of the time, although its "
            "current is right",
            "Correct its bias, or fine-tune the integer network.",
        )  # fmt: skip
    elif own.spike_error >= SENSITIVE:
        yield _about(
            p, "sensitive", "fine-tuning",
            f"{_percent(own.spike_error)} of its spikes are wrong, although its current is right: "
            "many potentials lie next to a threshold",
            "Fine-tune the integer network.",
        )  # fmt: skip


def _is_coarse(p: PopulationDiagnosis) -> bool:
    """Whether the rounding of the smallest threshold counts beside the error of the current."""
    if p.threshold_bits is None or p.threshold_bits >= THRESHOLD_BITS:
        return False
    sqnr = p.forced.sqnr_db_total
    return sqnr is None or 2.0**-p.threshold_bits >= COARSE * 10 ** (-sqnr / 20)


def _finer(p: PopulationDiagnosis) -> tuple[Knob, str]:
    """How to get finer thresholds: a larger shift, if the states have room."""
    bits = THRESHOLD_BITS - (p.threshold_bits or 0)
    if p.headroom_bits >= bits and p.state_shift + bits <= MOST_STATE_SHIFT:
        return "state shift", f"Raise its state shift by {bits} (to {p.state_shift + bits})."
    width = min(MOST_STATE_BITS, p.state_bits + bits)
    if width > p.state_bits:
        return "state bits", (
            f"Give its states {width} bits (--state-bits {width}) and a larger state shift."
        )
    return "fine-tuning", "Fine-tune the integer network: its states cannot be finer."


def _weights(
    rule: str,
    layer: str,
    sqnr: float | None,
    incoming: list[ConnectionDiagnosis],
    severity: float,
    population: PopulationDiagnosis | None = None,
) -> Iterator[Advice]:
    """What makes the current of a layer better: the knobs of its worst connection."""
    worst = _worst(incoming)
    assert sqnr is not None
    finding = f"its current by itself has an SQNR of {_db(sqnr)}"

    def advice(knob: Knob, more: str, action: str) -> Advice:
        return Advice(
            rule=rule,
            layer=layer,
            connection=None if worst is None else worst.label,
            knob=knob,
            finding=f"{finding}{more}",
            action=action,
            severity=severity,
        )

    weights = None if worst is None else worst.weight_sqnr_db
    if worst is None or weights is None or weights >= TARGET_SQNR_DB + GAIN_DB:
        yield advice(
            "fine-tuning",
            "; its weights do not explain it",
            "Fine-tune the integer network; or look at the input and at the rounded bias.",
        )
        return
    detail = f"; the {worst.bits}-bit weights of {worst.label} have {_db(weights)}"
    if population is not None and population.is_one_scale and _gain(worst.per_channel_gain_db):
        yield advice(
            "granularity",
            f"{detail}, with one scale per channel {worst.per_channel_gain_db:.1f} dB more",
            _granularity_action(worst),
        )
    if _gain(worst.clipping_gain_db):
        clipped = (worst.clipped or 0) > CLIPPED_WEIGHTS
        assert worst.clipped is not None
        how = (
            f"{detail}, for {_percent(worst.clipped)} of them are clipped" if clipped
            else f"{detail}, for a few large ones take the range"
        )  # fmt: skip
        yield advice(
            "clipping",
            f"{how}; with the best clipping {worst.clipping_gain_db:.1f} dB more",
            f"{'Widen' if clipped else 'Clip'} the range of {worst.label}.",
        )
    bits = min(MOST_BITS, worst.bits + max(1, math.ceil((TARGET_SQNR_DB - sqnr) / BIT_DB)))
    if worst.bits < MOST_BITS:
        tuning = "; to keep its bits, fine-tune the integer network" * (worst.bits <= FEW_BITS)
        yield advice("weight bits", detail, f"Give {worst.label} {bits} bits{tuning}.")
    else:
        yield advice("fine-tuning", detail, "Fine-tune the integer network.")


def _trained(p: PopulationDiagnosis, samples: int) -> Iterator[Advice]:
    for many, words, action in (
        (p.dead_float.count, "never fire", "they take memory for nothing"),
        (p.always_float.count, "fire at every step of every sample", "they carry no information"),
    ):
        if many > OLD_SHARE * p.neurons:
            yield _about(
                p, "trained", "training",
                f"{many:,} of {p.neurons:,} neurons {words} on these {samples:,} samples, in the "
                "float network already",
                _hasty(samples, f"Train with a penalty on rates, or prune them: {action}."),
                severity=0.0,
            )  # fmt: skip


def _readout(readout: ReadoutDiagnosis, incoming: list[ConnectionDiagnosis]) -> Iterator[Advice]:
    changed = 1 - readout.forced_prediction_agreement
    sqnr = readout.forced.sqnr_db_total
    if changed >= CHANGED_PREDICTIONS and sqnr is not None:
        yield from _weights("readout", readout.name, sqnr, incoming, changed)


def _accumulation(
    populations: Sequence[PopulationDiagnosis], readout: ReadoutDiagnosis
) -> Iterator[Advice]:
    worst = max(populations, key=lambda p: p.own.spike_error, default=None)
    if worst is None or 1 - readout.prediction_agreement < CHANGED_PREDICTIONS:
        return
    if worst.own.spike_error >= ACCUMULATED:
        origin = max(
            populations[: populations.index(worst) + 1], key=lambda p: p.forced.spike_error
        )
        yield _about(
            worst, "accumulation", "fine-tuning",
            f"{_percent(worst.own.spike_error)} of its spikes are wrong, but only "
            f"{_percent(worst.forced.spike_error)} by itself: errors of the layers before it add "
            f"up, most of all those of {origin.name} ({_percent(origin.forced.spike_error)})",
            "Fine-tune the integer network.",
            severity=worst.own.spike_error,
        )  # fmt: skip


def _about(
    p: PopulationDiagnosis,
    rule: str,
    knob: Knob,
    finding: str,
    action: str,
    *,
    severity: float | None = None,
) -> Advice:
    return Advice(
        rule=rule,
        layer=p.name,
        connection=None,
        knob=knob,
        finding=finding,
        action=action,
        severity=p.forced.spike_error if severity is None else severity,
    )


def _worst(incoming: list[ConnectionDiagnosis]) -> ConnectionDiagnosis | None:
    """The connection that adds most of the error."""
    known = [c for c in incoming if c.error_share is not None]
    return max(known, key=lambda c: c.error_share or 0.0, default=None)


def _is_low(sqnr: float | None) -> bool:
    return sqnr is not None and sqnr < TARGET_SQNR_DB


def _gain(db: float | None) -> bool:
    return db is not None and db >= GAIN_DB


def _granularity_action(connection: ConnectionDiagnosis) -> str:
    return f"Give {connection.target} one scale per channel (--granularity channel)."


def _index(neuron: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, neuron))})" if len(neuron) > 1 else str(neuron[0])


def _percent(value: float) -> str:
    return f"{100 * value:.2f}%"


def _db(value: float) -> str:
    return f"{value:.1f} dB"

"""What a chip cannot do of a network, and what it can only just do: all of it, never the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import UnsupportedError
from trispike.network import Conv2d, FixedPointNeuron, IntegerNetwork, Network
from trispike.network.fixed_point import never, state_limit
from trispike.network.learning import plastic, widest
from trispike.network.network import PAYLOAD_LIMIT
from trispike.network.plasticity import TRACE_BITS
from trispike.quantize.headroom import arrivals_bound, state_bound
from trispike.targets.lava.schedule import schedule
from trispike.targets.loihi.demand import LIMIT_FIELDS, delays, demand
from trispike.targets.loihi.hardware import Board, Chip, boards_of
from trispike.targets.loihi.placement import Placement

Severity: TypeAlias = Literal["violation", "warning"]

LAVA_SHIFT = 6
"""Left shift of weights into the state that the chip applies by itself."""

_KINDS = {"synapse_bits": "fan-in", "in_axons": "fan-in", "out_axons": "fan-out"}

WAYS_OUT = {
    "neurons": "Use smaller layers, or a chip whose cores hold more.",
    "synapse_bits": "Use fewer weight bits, fewer input channels per layer, or more memory.",
    "in_axons": "Split the layer's input, or give pooled values a population of their own.",
    "out_axons": "Let fewer populations read this one, or larger tiles of them through fewer "
    "weight bits or per-layer thresholds.",
    "thresholds": "Quantize per layer: trispike quantize --granularity layer.",
}
"""What relieves a resource of a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that does not fit, or that a reader should know."""

    severity: Severity
    kind: str
    """What it is about, in a word."""
    subject: str
    """Which population, connection, or board."""
    value: str
    """What the network has."""
    limit: str
    """What the chip has."""
    source: str
    """Where that is said."""
    confidence: str
    """published, secondary or assumed."""
    fix: str
    """The way out."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def check_network(
    network: Network, chip: Chip, placement: Placement | None = None
) -> list[Finding]:
    """Everything about a network that a chip does not offer; violations first.

    Args:
        network: An integer network.
        chip: The chip.
        placement: Adds what does not fit on cores and on the board.

    Raises:
        UnsupportedError: A float network.
    """
    if not isinstance(network, IntegerNetwork):
        raise UnsupportedError(
            "network", got="float weights", expected="an integer network",
            fix="Quantize it first: trispike quantize NET --calibration DATA -o OUT.",
        )  # fmt: skip
    found = [*_Checks(network, chip).all()]
    if placement is not None:
        found += _placed(placement)
    return sorted(found, key=lambda finding: finding.severity != "violation")


class _Checks:
    def __init__(self, network: IntegerNetwork, chip: Chip) -> None:
        self.network, self.chip = network, chip

    def all(self) -> Iterator[Finding]:
        yield from self._weights()
        yield from self._delays()
        yield from self._payload()
        yield from self._learning()
        for name, population in self.network.populations.items():
            neuron = population.neuron
            assert isinstance(neuron, FixedPointNeuron)
            subject = f"population {name!r}"
            yield from self._exponents(name, neuron.state_shift)
            yield from self._state(subject, name, neuron)
            yield from self._retention(subject, neuron)
            yield from self._thresholds(subject, neuron)
            yield from self._bias(subject, neuron)
            yield from self._dynamics(subject, neuron)
        yield from self._exponents(self.network.readout.name, self.network.readout.state_shift)

    def _finding(
        self, kind: str, subject: str, value: object, field: str, fix: str, *,
        limit: object = None, severity: Severity = "violation",
    ) -> Finding:  # fmt: skip
        source = self.chip.limit(field)
        return Finding(
            severity=severity,
            kind=kind,
            subject=subject,
            value=str(value),
            limit=str(source.value if limit is None else limit),
            source=source.citation,
            confidence=source.confidence,
            fix=fix,
        )

    def _weights(self) -> Iterator[Finding]:
        widths = self.chip.weight_widths.value
        for label, connection in self.network.labelled():
            subject = f"connection {label}"
            if connection.bits > widths[-1]:
                yield self._finding(
                    "weight bits", subject, f"{connection.bits} bits", "weight_widths",
                    f"Quantize again: --weight-bits {widths[-1]}.", limit=f"{widths[-1]} bits",
                )  # fmt: skip
            elif connection.bits not in widths:
                stored = self.chip.weight_widths.at_least(connection.bits)
                yield self._finding(
                    "weight bits", subject, f"{connection.bits} bits", "weight_widths",
                    f"They take {stored} bits each; fewer bits, or the use of all {stored}.",
                    limit=", ".join(map(str, widths)), severity="warning",
                )  # fmt: skip

    def _learning(self) -> Iterator[Finding]:
        fixed = self.chip.learning.value == "fixed"
        for label, connection in plastic(self.network).items():
            rule = connection.plasticity
            assert rule is not None
            yield self._finding(
                "learning", f"connection {label}",
                f"run-time plasticity (experimental), traces of {TRACE_BITS} bits, "
                f"{connection.bits}+{rule.fine_bits} bits per weight", "learning",
                "The placement is an estimate: traces, fine bits and the work of learning are not "
                "in it. Take the rule off (trispike.make_plastic) for figures without it.",
                limit="sums of products of narrower traces" if fixed else "learning rules, "
                "estimated", severity="violation" if fixed else "warning",
            )  # fmt: skip

    def _exponents(self, target: str, shift: int) -> Iterator[Finding]:
        low, high = self.chip.weight_exponent_min.value, self.chip.weight_exponent_max.value
        for label, connection in self.network.labelled():
            if connection.target != target:
                continue
            exponent = connection.exponent + shift - LAVA_SHIFT
            if not low <= exponent <= high:
                field = "weight_exponent_min" if exponent < low else "weight_exponent_max"
                yield self._finding(
                    "weight exponent", f"connection {label}", exponent, field,
                    "Quantize with another state shift, or scale the weights of the connections "
                    "into one population alike.", limit=f"{low}..{high}",
                )  # fmt: skip

    def _delays(self) -> Iterator[Finding]:
        try:
            schedule(self.network)
        except UnsupportedError as error:
            yield self._finding(
                "delay", error.subject, error.got, "delay_max", error.fix, limit=error.expected
            )
        most = self.chip.delay_max.value
        for label, waits in delays(self.network).items():
            if max(waits) > most:
                yield self._finding(
                    "delay", f"connection {label}", f"{max(waits)} steps", "delay_max",
                    "Shorten the way that the spikes wait for, or relay them over a population "
                    "that passes them on.", limit=f"{most} steps",
                )  # fmt: skip

    def _payload(self) -> Iterator[Finding]:
        bits = self.chip.payload_bits.value
        entry, subject = self.network.input, f"input {self.network.input.name!r}"
        needed = PAYLOAD_LIMIT.bit_length() + 1
        if entry.encoding != "spikes" and bits < needed:
            yield self._finding(
                "payload", subject, f"graded input of {needed} bits", "payload_bits",
                "Compute the first layer on the host and send its spikes, or train on spikes.",
                limit=f"{bits} bits" if bits else "binary spikes",
            )  # fmt: skip
        if entry.encoding == "spikes" and bits < needed:
            yield self._finding(
                "payload", subject, "spikes up to 127", "payload_bits",
                "Spikes of -1, 0 and 1 only pass; larger ones need several spikes.",
                limit=f"{bits} bits" if bits else "binary spikes", severity="warning",
            )  # fmt: skip
        if self.chip.signed_spikes.value == "native":
            return
        signed = {name for name, load in demand(self.network, self.chip).loads.items()
                  if load.signed}  # fmt: skip
        if signed:
            neurons = sum(self.network.populations[name].size for name in signed)
            yield self._finding(
                "signed spikes", f"{len(signed)} populations",
                f"{neurons:,} ternary neurons", "signed_spikes",
                "Counted as pairs: twice the axons, twice the synapse lists.",
                limit="an axon per sign", severity="warning",
            )  # fmt: skip

    def _state(self, subject: str, name: str, neuron: FixedPointNeuron) -> Iterator[Finding]:
        bits = self.chip.state_bits.value
        if neuron.state_bits > bits:
            yield self._finding(
                "state width", subject, f"{neuron.state_bits} bits", "state_bits",
                f"Quantize again: --state-bits {bits}.", limit=f"{bits} bits",
            )  # fmt: skip
        bound = self._bound(name, neuron)
        limit = state_limit(min(bits, neuron.state_bits))
        if bound > limit:
            yield self._finding(
                "headroom", subject, f"states up to {bound:,}", "state_bits",
                "Saturation cannot be ruled out; trispike simulate counts it. A smaller state "
                "shift or fewer weight bits give room.", limit=f"{limit:,}", severity="warning",
            )  # fmt: skip

    def _bound(self, name: str, neuron: FixedPointNeuron) -> int:
        shape = self.network.populations[name].shape
        incoming = tuple(map(widest, self.network.into(name)))
        outputs = [c.output_shape(self.network.source_shape(c)) for c in incoming]
        convolved = [o[0] for c, o in zip(incoming, outputs, strict=True)
                     if isinstance(c.operator, Conv2d)]  # fmt: skip
        channels = int(np.gcd.reduce([shape[0], *convolved]))
        total = arrivals_bound(self.network, incoming, channels)
        return state_bound(neuron, shape, total, self.network.steps)

    def _retention(self, subject: str, neuron: FixedPointNeuron) -> Iterator[Finding]:
        bits = self.chip.decay_bits.value
        unit = 1 << max(0, 12 - bits)
        fields = [f for f in ("a_pos", "a_neg", "b_pos", "b_neg", "k")
                  if (getattr(neuron, f) % unit != 0).any()]  # fmt: skip
        if fields:
            yield self._finding(
                "decay", subject, "12 bits in " + ", ".join(fields), "decay_bits",
                f"Round the retention factors to multiples of {unit}/4096 and train with them.",
                limit=f"{bits} bits",
            )  # fmt: skip

    def _thresholds(self, subject: str, neuron: FixedPointNeuron) -> Iterator[Finding]:
        per_core, top = self.chip.thresholds_per_core.value, never(neuron.state_bits)
        pairs = np.broadcast_arrays(neuron.th_pos, neuron.th_neg)
        different = len(np.unique(np.stack([p.reshape(-1) for p in pairs]), axis=1).T)
        if per_core is not None and different > per_core:
            yield self._finding(
                "threshold granularity", subject, f"{different} thresholds",
                "thresholds_per_core",
                "Tiles are cut so that a core has no more; per-layer thresholds would lift it "
                "(trispike quantize --granularity layer).",
                limit=f"{per_core} per core", severity="warning",
            )  # fmt: skip
        mantissa, shift = self.chip.threshold_bits.value, self.chip.threshold_shift.value
        reached = [t for t in (neuron.th_pos, neuron.th_neg) if (t < top).any()]
        if mantissa is None or not reached:
            return
        values = np.concatenate([t[t < top].reshape(-1) for t in reached])
        off = int((values % (1 << shift) != 0).sum())
        if values.max() > ((1 << mantissa) - 1) << shift:
            yield self._finding(
                "threshold range", subject, f"{int(values.max()):,}", "threshold_bits",
                "Quantize with a smaller state shift.",
                limit=f"{((1 << mantissa) - 1) << shift:,}",
            )  # fmt: skip
        if off:
            yield self._finding(
                "threshold resolution", subject, f"{off} thresholds between two steps",
                "threshold_shift", "They would be rounded, which changes the network.",
                limit=f"multiples of {1 << shift}",
            )  # fmt: skip

    def _bias(self, subject: str, neuron: FixedPointNeuron) -> Iterator[Finding]:
        bits, most = self.chip.bias_bits.value, self.chip.bias_exponent.value
        if bits is None:
            return
        bad = ~representable(np.abs(neuron.bias), bits, most)
        if bad.any():
            yield self._finding(
                "bias", subject, f"{int(bad.sum())} of {bad.size} values", "bias_bits",
                "Round the bias to what can be stored, which changes the network.",
                limit=f"{bits} bits << 0..{most}",
            )  # fmt: skip

    def _dynamics(self, subject: str, neuron: FixedPointNeuron) -> Iterator[Finding]:
        if self.chip.neuron.value == "programmable":
            return
        missing = not_lif(neuron)
        if missing:
            yield self._finding(
                "neuron", subject, ", ".join(missing), "neuron",
                "The figures are an estimate of resources only; a programmable neuron is needed.",
                limit="leaky integrate-and-fire, hard reset",
            )  # fmt: skip


def representable(values: npt.NDArray[Any], bits: int, exponent: int) -> npt.NDArray[np.bool_]:
    """Which magnitudes are a mantissa of so many bits, shifted left by 0..exponent."""
    good = np.zeros(values.shape, bool)
    for shift in range(exponent + 1):
        good |= (values % (1 << shift) == 0) & ((values >> shift) < (1 << bits))
    return good


def not_lif(neuron: FixedPointNeuron) -> list[str]:
    """What a neuron does that a leaky integrate-and-fire neuron with hard reset does not."""
    top, bottom = never(neuron.state_bits), -state_limit(neuron.state_bits)
    found = (
        ("negative spikes", (neuron.th_neg < top).any()),
        ("a carried potential", (neuron.a_pos != 0).any() or (neuron.a_neg != 0).any()),
        ("a leak that depends on the sign", (neuron.b_pos != neuron.b_neg).any()),
        (f"reset {neuron.reset!r}", neuron.reset != "zero"),
        ("firing once", neuron.fire_once),
        ("a floor", (neuron.floor > bottom).any()),
        ("an initial potential", (neuron.v_init != 0).any()),
        ("a window of firing", neuron.fire_from or neuron.fire_until is not None),
        ("a gain per time step", neuron.gains),
    )
    return [what for what, there in found if there]


def _placed(placement: Placement) -> Iterator[Finding]:
    chip = placement.chip
    for misfit in placement.misfits:
        source = chip.limit(LIMIT_FIELDS[misfit.resource])
        yield Finding(
            severity="violation",
            kind=_KINDS.get(misfit.resource, misfit.resource),
            subject=f"population {misfit.population!r}",
            value=f"{misfit.needed:,} {misfit.resource.replace('_', ' ')} for one neuron",
            limit=f"{misfit.limit:,} per core",
            source=source.citation,
            confidence=source.confidence,
            fix=WAYS_OUT[misfit.resource],
        )
    board = placement.board
    if board is not None and placement.chips > board.chips.value:
        closest = next((b for b in boards_of(chip) if b.cores(chip) >= len(placement.cores)), None)
        fix = (
            f"The smallest that is large enough is {closest.name}, --board {closest.id}: "
            f"{_size(closest, chip)}."
            if closest
            else "No known board is large enough: use fewer weight bits or a smaller network."
        )
        yield Finding(
            severity="violation",
            kind="board",
            subject=f"board {board.id!r}",
            value=_chips(placement.chips, len(placement.cores)),
            limit=_size(board, chip),
            source=board.chips.citation,
            confidence=board.chips.confidence,
            fix=fix,
        )
    elif board is None:
        known = boards_of(chip)
        if known and not placement.misfits:
            yield Finding(
                severity="violation",
                kind="board",
                subject="all boards",
                value=_chips(placement.chips, len(placement.cores)),
                limit=f"{_size(known[-1], chip)} on {known[-1].name}",
                source=known[-1].chips.citation,
                confidence=known[-1].chips.confidence,
                fix="Use fewer weight bits or a smaller network.",
            )


def _size(board: Board, chip: Chip) -> str:
    return _chips(board.chips.value, board.cores(chip))


def _chips(chips: int, cores: int) -> str:
    return f"{chips:,} chip{'' if chips == 1 else 's'} with {cores:,} cores"

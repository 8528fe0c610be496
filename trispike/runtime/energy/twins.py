"""The spiking network beside its twins without spikes, in arithmetic of 45 nm.

Everything follows from integer counts and one table (Horowitz, ISSCC 2014); memory is in neither
side. Costs are exact fractions until they are reported.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from trispike.errors import InvalidSettingError
from trispike.network import FixedPointNeuron, Network, Population
from trispike.network.fixed_point import never
from trispike.runtime.derived_counts import update_work
from trispike.runtime.energy.conventions import check_run
from trispike.runtime.ledger import Ledger

PICOJOULES = 10**12

RELU_SPARSITY = 0.5
"""Share of zeros among the activations of a ReLU network, if nobody says otherwise: what a ReLU
leaves of sums that are symmetric around zero. An assumption; trained networks have more or less."""

INPUT_BITS = 8
"""Width of an analog input where the twin computes in integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Prices of one number format in pJ; Horowitz, ISSCC 2014, 45 nm, 0.9 V."""

    accumulate: Fraction
    """Adding a weight, as a spike does."""
    multiply: Fraction
    """A product of a weight and an activation of 8 bits, or of floats."""
    neuron_multiply: Fraction
    """A product in a neuron, whose state is wider than a weight."""
    neuron_add: Fraction
    """An addition or comparison in a neuron."""


FP32 = Arithmetic(
    accumulate=Fraction(9, 10),
    multiply=Fraction(37, 10),
    neuron_multiply=Fraction(37, 10),
    neuron_add=Fraction(9, 10),
)
"""fp32 add 0.9, multiply 3.7."""

INT8 = Arithmetic(
    accumulate=Fraction(1, 10),
    multiply=Fraction(2, 10),
    neuron_multiply=Fraction(31, 10),
    neuron_add=Fraction(1, 10),
)
"""Sums and states in int32 (add 0.1, multiply 3.1), products of int8 (multiply 0.2)."""


class NeuronWork(NamedTuple):
    """Operations of one neuron in one update."""

    multiplies: int
    adds: int
    """Comparisons among them: a ternary neuron has two."""
    adds_per_spike: int
    """A reset that subtracts the threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """One connection as a layer of a dense network."""

    macs: int
    """Per inference."""
    weight_bits: int
    analog: bool
    """It reads values that are no spikes."""
    input_density: Fraction | None
    """Measured share of operations whose input is not zero, where it reads the input alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWork:
    """All connections into one target, and its neurons: integers, summed over samples."""

    name: str
    samples: int
    capacity: int
    """Spiking operations if every source element fired at every step."""
    spiking: int
    """Spiking operations that happened."""
    graded: int
    """Products with payloads outside {-1, 0, 1}, at the steps at which they came."""
    beside_graded: int
    """Ternary payloads of connections that carry graded ones, too: not subject to the rate."""
    products: tuple[Products, ...]
    neurons: int
    updates: int
    spikes: int
    work: NeuronWork
    bias: bool

    @property
    def rate(self) -> Fraction | None:
        """Share of the capacity that was used: the firing rate, weighted by fan-out."""
        return Fraction(self.spiking, self.capacity) if self.capacity else None

    def spiking_cost(
        self, arithmetic: Arithmetic, *, rate: Fraction | None = None, neurons: bool = False
    ) -> Fraction:
        """Arithmetic of the spiking layer, in pJ per inference.

        Args:
            arithmetic: Prices.
            rate: At another firing rate than the measured one.
            neurons: With that of the neurons, at the measured number of spikes.
        """
        spiking = self.spiking if rate is None else rate * self.capacity
        total = (spiking + self.beside_graded) * arithmetic.accumulate
        total += self.graded * (arithmetic.multiply + arithmetic.accumulate)
        if neurons:
            adds = self.updates * self.work.adds + self.spikes * self.work.adds_per_spike
            total += self.updates * self.work.multiplies * arithmetic.neuron_multiply
            total += adds * arithmetic.neuron_add
        return total / self.samples

    def break_even(
        self, twin: Fraction, arithmetic: Arithmetic, *, neurons: bool = False
    ) -> Fraction | None:
        """The firing rate below which the layer is cheaper than ``twin`` pJ per inference.

        Above 1 it always is, below 0 never; None where no spike comes in.
        """
        if not self.capacity:
            return None
        fixed = self.spiking_cost(arithmetic, rate=Fraction(0), neurons=neurons)
        return (twin - fixed) * self.samples / (self.capacity * arithmetic.accumulate)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnKind:
    """A network without spikes that does the same job, and how its products are priced."""

    id: str
    name: str
    arithmetic: Arithmetic
    activation_bits: int | None = None
    """Width of activations between layers; None: as the arithmetic has it."""
    sparsity: Fraction | None = None
    """Share of activations between layers that are zero, and skipped, as are zeros of the input;
    None: nothing is skipped."""
    requantizes: bool = True
    """It multiplies every sum to bring it back to few bits."""
    assumptions: tuple[str, ...] = ()

    def cost(self, layer: LayerWork, *, neurons: bool = False) -> Fraction:
        """Arithmetic of the layer in this network, in pJ per inference."""
        total = Fraction(0)
        for part in layer.products:
            multiply = self.arithmetic.multiply
            if self.activation_bits is not None:
                bits = INPUT_BITS if part.analog else self.activation_bits
                multiply *= Fraction(bits * part.weight_bits, 64)
            done = Fraction(part.macs)
            if self.sparsity is not None:
                measured = part.input_density
                done *= 1 - self.sparsity if measured is None else measured
            total += done * (multiply + self.arithmetic.accumulate)
        if neurons:
            # ReLU compares once.
            total += layer.neurons * (1 + layer.bias) * self.arithmetic.neuron_add
            total += layer.neurons * self.requantizes * self.arithmetic.neuron_multiply
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTwin:
    """One layer beside its twin; joules per inference."""

    layer: str
    """Name of the population, or of the readout."""
    rate: float | None
    """Measured firing rate of what it reads, weighted by fan-out, 0..1; None: no spikes."""
    spiking_joules: float
    twin_joules: float
    break_even_rate: float | None
    """Below it the spiking layer is cheaper; above 1: always, below 0: never; None: no spikes."""
    spiking_with_neurons_joules: float
    twin_with_neurons_joules: float
    break_even_rate_with_neurons: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnTwin:
    """The spiking network beside one network without spikes; arithmetic alone, per inference."""

    id: str
    name: str
    layers: tuple[LayerTwin, ...]
    spiking_joules: float
    twin_joules: float
    spiking_with_neurons_joules: float
    twin_with_neurons_joules: float
    dense_macs: int
    """Multiply-accumulates of the dense network of equal topology, zeros included."""
    neuron_updates: float
    """Of the spiking network."""
    assumptions: tuple[str, ...]

    @property
    def break_even_picojoules(self) -> float | None:
        """Price of a neuron update beyond which the lead of the weights' arithmetic is gone.

        None: there is no lead, or no update.
        """
        lead = self.twin_joules - self.spiking_joules
        return lead / self.neuron_updates * 1e12 if lead > 0 and self.neuron_updates else None

    @property
    def verdict(self) -> str:
        """Who wins, by how much, where not, in words."""
        first = factor_words(self.spiking_joules, self.twin_joules)
        second = factor_words(self.spiking_with_neurons_joules, self.twin_with_neurons_joules)
        words = f"the spiking network {first} by its weights' arithmetic"
        if self.break_even_picojoules is not None:
            words += (
                f" (as long as a neuron update costs less than {self.break_even_picojoules:.3g} pJ)"
            )
        words += f", and {second} with that of the neurons on both sides"
        lost = [x.layer for x in self.layers if x.spiking_joules > x.twin_joules]
        if lost and len(lost) < len(self.layers):
            words += f"; layers that lose by their weights: {', '.join(lost)}"
        return words

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        plain = asdict(self) | {"verdict": self.verdict, "assumptions": list(self.assumptions)}
        plain["break_even_picojoules"] = self.break_even_picojoules
        return plain | {"layers": [asdict(layer) for layer in self.layers]}


def information_bits(spikes: int, *, ternary: bool = True) -> int:
    """Bits that tell apart what so many spikes can add up to: ceil(log2(2n + 1)), or of n + 1."""
    return (spikes * (1 + ternary)).bit_length()


def most_spikes(network: Network) -> tuple[int, bool]:
    """How many spikes at most a neuron fires in an inference, and whether they may be negative.

    Of the population that has the most values to tell: it fires at every step of its window, or
    once.
    """
    found = []
    for population in network.populations.values():
        neuron = population.neuron
        until = network.steps if neuron.fire_until is None else neuron.fire_until
        spikes = 1 if neuron.fire_once else until - neuron.fire_from
        unreachable = never(neuron.state_bits) if isinstance(neuron, FixedPointNeuron) else np.inf
        found.append((spikes, bool((neuron.th_neg < unreachable).any())))
    return max(found, key=lambda n: n[0] * (1 + n[1]))


def ann_kinds(
    spikes: int, sparsity: float = RELU_SPARSITY, *, ternary: bool = True
) -> tuple[AnnKind, ...]:
    """The twins of a network.

    Args:
        spikes: How many a neuron fires at most in an inference: T, if nothing keeps it from it.
        sparsity: Share of zeros among the activations of the sparse twin, 0..1.
        ternary: Whether spikes may be negative.

    Raises:
        InvalidSettingError: The sparsity is not in 0..1.
    """
    if not 0 <= sparsity <= 1:
        raise InvalidSettingError(
            "activation sparsity",
            got=f"{sparsity}",
            expected="the share of activations that are zero, 0 to 1",
            fix="0.5 is what a ReLU leaves of symmetric sums.",
        )
    bits = information_bits(spikes, ternary=ternary)
    kind = "ternary" if ternary else "binary"
    return (
        AnnKind(id="dense-fp32", name="dense, fp32", arithmetic=FP32, requantizes=False),
        AnnKind(id="dense-int8", name="dense, int8", arithmetic=INT8),
        AnnKind(
            id="sparse-int8",
            name=f"sparse int8, {sparsity:.0%} zeros",
            arithmetic=INT8,
            sparsity=Fraction(sparsity),
            assumptions=(
                (
                    f"{sparsity:.0%} of a ReLU's outputs are zero, and skipped at no cost; of the "
                    "input as many as were measured"
                ),
            ),
        ),
        AnnKind(
            id="equal-information",
            name=f"{bits}-bit activations",
            arithmetic=INT8,
            activation_bits=bits,
            assumptions=(
                (
                    f"{spikes} {kind} spikes add up to one of {spikes * (1 + ternary) + 1} "
                    f"values, which are {bits} bits; an analog input has {INPUT_BITS}"
                ),
                (
                    "a product of a x b bits costs a*b/64 of an 8-bit one (0.2 pJ), which the "
                    "table's own int32 product bears out: 3.1 pJ for 16 times as many bits"
                ),
            ),
        ),
    )


def ann_twins(
    ledger: Ledger, network: Network, sparsity: float = RELU_SPARSITY
) -> tuple[AnnTwin, ...]:
    """The spiking network beside networks without spikes, layer by layer, from integer counts.

    Args:
        ledger: Of a run.
        network: That ran.
        sparsity: Share of zeros among the activations of the sparse twin, 0..1.

    Raises:
        InvalidSettingError: As :func:`ann_kinds`.
        InvalidDataError: An empty ledger, or one of another network.
    """
    spikes, ternary = most_spikes(network)
    kinds = ann_kinds(spikes, sparsity, ternary=ternary)
    layers = layer_works(ledger, network)
    return tuple(_ann_twin(kind, layers) for kind in kinds)


def layer_works(ledger: Ledger, network: Network) -> tuple[LayerWork, ...]:
    """What every layer did: one per population, in the order of the network, and the readout.

    Raises:
        InvalidDataError: An empty ledger, or one of another network.
    """
    check_run(ledger, network)
    names = (*network.order, network.readout.name)
    return tuple(_layer_work(name, ledger, network) for name in names)


def neuron_work(population: Population) -> NeuronWork:
    """Operations of one update of one of its neurons."""
    work = update_work(population)
    adds = work.additions + work.bias_additions + work.threshold_compares + work.floor_compares
    return NeuronWork(work.multiplies, adds, work.additions_per_spike)


def _layer_work(name: str, ledger: Ledger, network: Network) -> LayerWork:
    totals = dict.fromkeys(("capacity", "spiking", "graded", "beside_graded"), 0)
    products = []
    for label, c in network.labelled():
        if c.target != name:
            continue
        counts = ledger.connections[label]
        spiking, graded = int(counts.synaptic_operations.sum()), int(counts.macs.sum())
        dense = int(counts.dense_operations.sum())
        totals["graded"] += graded
        if graded:
            totals["beside_graded"] += spiking
        else:
            totals["spiking"] += spiking
            totals["capacity"] += dense
        only_input = c.sources == (network.input.name,)
        density = Fraction(spiking + graded, dense) if only_input and dense else None
        products.append(
            Products(
                macs=counts.dense_macs,
                weight_bits=c.bits,
                analog=graded > 0,
                input_density=density,
            )
        )
    population = network.populations.get(name)
    events = ledger.populations.get(name)
    return LayerWork(
        name=name,
        samples=ledger.samples,
        **totals,
        products=tuple(products),
        neurons=population.size if population else 0,
        updates=int(events.updates.sum()) if events else 0,
        spikes=int((events.spikes_positive + events.spikes_negative).sum()) if events else 0,
        work=neuron_work(population) if population else NeuronWork(0, 0, 0),
        bias=bool(population and np.any(population.neuron.bias != 0)),
    )


def _ann_twin(kind: AnnKind, layers: tuple[LayerWork, ...]) -> AnnTwin:
    found = tuple(_layer_twin(kind, layer) for layer in layers)
    arithmetic = kind.arithmetic

    def total(neurons: bool) -> tuple[float, float]:
        spiking = sum(layer.spiking_cost(arithmetic, neurons=neurons) for layer in layers)
        twin = sum(kind.cost(layer, neurons=neurons) for layer in layers)
        return float(spiking / PICOJOULES), float(twin / PICOJOULES)

    (spiking, twin), (spiking_neurons, twin_neurons) = total(False), total(True)
    return AnnTwin(
        id=kind.id,
        name=kind.name,
        layers=found,
        spiking_joules=spiking,
        twin_joules=twin,
        spiking_with_neurons_joules=spiking_neurons,
        twin_with_neurons_joules=twin_neurons,
        dense_macs=sum(part.macs for layer in layers for part in layer.products),
        neuron_updates=sum(layer.updates for layer in layers) / layers[0].samples,
        assumptions=kind.assumptions,
    )


def _layer_twin(kind: AnnKind, layer: LayerWork) -> LayerTwin:
    plain, whole = kind.cost(layer), kind.cost(layer, neurons=True)
    arithmetic = kind.arithmetic
    return LayerTwin(
        layer=layer.name,
        rate=_number(layer.rate),
        spiking_joules=float(layer.spiking_cost(arithmetic) / PICOJOULES),
        twin_joules=float(plain / PICOJOULES),
        break_even_rate=_number(layer.break_even(plain, arithmetic)),
        spiking_with_neurons_joules=float(
            layer.spiking_cost(arithmetic, neurons=True) / PICOJOULES
        ),
        twin_with_neurons_joules=float(whole / PICOJOULES),
        break_even_rate_with_neurons=_number(layer.break_even(whole, arithmetic, neurons=True)),
    )


def _number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def factor_words(spiking: float, twin: float) -> str:
    """What the spiking network does beside a twin: "wins by 1.20x"."""
    if spiking == twin:
        return "draws"
    if not spiking or not twin:
        return "wins: it costs nothing" if not spiking else "loses: the other costs nothing"
    factor = max(spiking, twin) / min(spiking, twin)
    return f"{'wins' if spiking < twin else 'loses'} by {factor:.2f}x"

"""The dense network on the core that a memory model describes, in three orders of work.

Both sides pay the same prices, neurons included, and have the same band: its lower end takes
perfectly packed words and sums in registers, its upper end one access for each single value. What a
dense network can do and events cannot is to choose the order of its products, and so to use what it
has fetched more than once (Yan et al., arXiv 2409.08290). So it stands here in the order of events,
with its weights held, and with its sums held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Connection
from trispike.runtime.derived_counts import FLOAT_BITS, update_work
from trispike.runtime.energy.memory_sizes import Memory, Sizes, parameter_widths
from trispike.runtime.energy.profile import Coefficient
from trispike.runtime.energy.twins import factor_words
from trispike.runtime.ledger import Ledger

ACTIVATION_BITS = 8
"""Width of an activation of a dense network of integers."""

Ends: TypeAlias = npt.NDArray[np.float64]
"""(3,): lower end, value, upper end."""


class Order(NamedTuple):
    """In which order a dense network makes its products."""

    id: str
    name: str
    weights_held: bool
    """A weight is fetched once per inference."""
    sums_held: bool
    """A sum is in a register while it is added to."""
    assumption: str


ORDERS = (
    Order(
        "dense",
        "dense, in the order of events",
        False,
        False,
        "each activation is fetched once and sent to its targets: a weight is fetched and a sum "
        "touched for each product, as for each event",
    ),
    Order(
        "dense-weights-held",
        "dense, weights fetched once",
        True,
        False,
        "the weights of one input channel stay beside the adders while all its activations pass, "
        "so that each weight is fetched once per inference; what holds them costs nothing",
    ),
    Order(
        "dense-sums-held",
        "dense, sums in a register",
        False,
        True,
        "one neuron after the other: its sum stays in a register, and a weight and an activation "
        "are fetched for each product",
    ),
)
"""Input-, weight- and output-stationary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTwin:
    """The spiking network and the dense one on the same core; joules per inference.

    Static power is in neither.
    """

    id: str
    name: str
    profile: str
    """Id of the memory model."""
    dense_macs: int
    """Multiply-accumulates per inference of the dense network."""
    spiking_joules: float
    spiking_low_joules: float
    """Lower end of the band."""
    spiking_high_joules: float
    """Upper end."""
    twin_joules: float
    twin_low_joules: float
    twin_high_joules: float
    breakdown: Mapping[str, float]
    """Of the twin: J per inference by category, as that of an estimate."""
    assumptions: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Who wins, by how much, at the middle and at both ends."""
        middle = factor_words(self.spiking_joules, self.twin_joules)
        low = factor_words(self.spiking_low_joules, self.twin_low_joules)
        high = factor_words(self.spiking_high_joules, self.twin_high_joules)
        return (
            f"the spiking network {middle}; at the lower ends of both bands it {low}, at the upper "
            f"ends it {high}"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self) | {
            "breakdown": dict(self.breakdown),
            "assumptions": list(self.assumptions),
            "verdict": self.verdict,
        }


def memory_twins(
    sizes: Sizes, ledger: Ledger, spiking: tuple[float, float, float], *, with_input: bool
) -> tuple[MemoryTwin, ...]:
    """The dense network on the core of a memory model, in every order.

    Args:
        sizes: Memories of the spiking network's core.
        ledger: Of the network.
        spiking: J per inference of the spiking network, static power left out: lower end, value,
            upper end.
        with_input: Whether the spiking side holds the queue of the input's events; if not, the
            dense one does not fetch the input either.
    """
    # A dense network has one channel.
    sizes = replace(sizes, channels=1)
    return tuple(_twin(order, sizes, ledger, spiking, with_input=with_input) for order in ORDERS)


def _twin(
    order: Order,
    sizes: Sizes,
    ledger: Ledger,
    spiking: tuple[float, float, float],
    *,
    with_input: bool,
) -> MemoryTwin:
    network = sizes.network
    found: dict[str, Ends] = {}

    def add(costs: Mapping[str, Ends]) -> None:
        for category, joules in costs.items():
            found[category] = found.get(category, np.zeros(3)) + joules

    for label, connection in network.labelled():
        macs = ledger.connections[label].dense_macs
        sources = [s for s in connection.sources if with_input or s != network.input.name]
        add(_products(order, sizes, label, connection, macs))
        add({"activations": _activations(order, sizes, label, sources, macs)})
    for name in network.populations:
        add(_neurons(order, sizes, name))
    low, joules, high = (float(end) for end in sum(found.values(), np.zeros(3)))
    assumptions = [order.assumption]
    if not with_input:
        assumptions.append("fetching the input is in neither side")
    return MemoryTwin(
        id=order.id,
        name=order.name,
        profile=sizes.model.id,
        dense_macs=sum(c.dense_macs for c in ledger.connections.values()),
        spiking_joules=spiking[1],
        spiking_low_joules=spiking[0],
        spiking_high_joules=spiking[2],
        twin_joules=joules,
        twin_low_joules=low,
        twin_high_joules=high,
        breakdown={category: float(ends[1]) for category, ends in found.items() if ends[1]},
        assumptions=tuple(assumptions),
    )


def _products(
    order: Order, sizes: Sizes, label: str, connection: Connection, macs: int
) -> Mapping[str, Ends]:
    """Products of a connection, their weights, and the sums that they are added to."""
    model, bits = sizes.model, sizes.weight_bits(connection)
    arithmetic = getattr(model.arithmetic, sizes.network.kind)
    fetched = sizes.copies(label, connection) if order.weights_held else macs
    words = sizes.packed(fetched, bits)
    added = 0 if order.sums_held else macs
    return {
        "synapse_arithmetic": _done(macs, arithmetic.accumulate)
        + _done(macs, arithmetic.weight_multiply),
        "addressing": _done(macs, model.address),
        "weight_fetch": _moved((words, words, fetched), sizes.weights(connection)),
        "accumulators": _moved(
            (0.0, 2 * sizes.packed(added, sizes.sums), 2 * added),
            sizes.accumulators(connection.target),
        ),
    }


def _activations(order: Order, sizes: Sizes, label: str, sources: list[str], macs: int) -> Ends:
    """Values of the sources, written once for each connection, and read."""
    width = ACTIVATION_BITS if sizes.network.kind == "integer" else FLOAT_BITS
    every = dict.fromkeys(sizes.entries, width)
    total = np.zeros(3)
    for source in sources:
        values = sizes.arrivals(label, source)
        # What several sources send is added up before it is multiplied.
        read = macs / len(sources) if order.sums_held else values
        words = sizes.packed(values + read, width)
        total += _moved((words, words, values + read), sizes.buffer(label, source, every))
    return total


def _neurons(order: Order, sizes: Sizes, name: str) -> Mapping[str, Ends]:
    """Bias and ReLU of every neuron, once; of integers a product back to few bits."""
    network = sizes.network
    population = network.populations[name]
    arithmetic = getattr(sizes.model.arithmetic, network.kind)
    size = population.size
    additions = size * (1 + update_work(population).bias_additions)
    products = size if network.kind == "integer" else 0
    biases = {n: parameter_widths(p).get("bias", 0) for n, p in network.populations.items()}
    bits = biases[name]
    read = (size * bits / sizes.word, size * -(-bits // sizes.word), size * bool(bits))
    taken = 0 if order.sums_held else size
    return {
        "neuron_arithmetic": _done(additions, arithmetic.accumulate)
        + _done(products, arithmetic.state_multiply),
        "neuron_state": _moved(read, sizes.neurons(name, biases))
        + _moved((0.0, 2 * sizes.packed(taken, sizes.sums), 2 * taken), sizes.accumulators(name)),
    }


def _done(count: float, price: Coefficient) -> Ends:
    low, high = price.interval
    return np.array([low, price.picojoules, high]) * count * 1e-12


def _moved(words: tuple[float, float, float], memory: Memory) -> Ends:
    return np.multiply(words, memory.access) * 1e-12

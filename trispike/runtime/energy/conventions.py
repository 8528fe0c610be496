"""The same run under the conventions of others: what they would count, and what it would cost.

Counts are those that the tool would report for the deployed network's layers on the same data, all
samples in one batch. Where a tool looks at something that the ledger does not hold, the count is
the ledger's own and a sentence says so.

Sources: NeuroBench 2.3.0 (Yik et al., Nature Communications 2025), syops 0.0.5 (Chen et al.),
Horowitz, ISSCC 2014, as most papers use it (for example Zhou et al., ICLR 2023), KerasSpiking 0.3.0
(Applied Brain Research).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError
from trispike.network import Connection, Conv2d, Identity, Network, fan_out, synapse_count
from trispike.network.connection import Shape
from trispike.network.dynamics import time_steps
from trispike.network.learning import Learner, plastic
from trispike.runtime.derived_counts import check_ledger
from trispike.runtime.energy.profile import load_profile
from trispike.runtime.input_counts import InputCounts
from trispike.runtime.ledger import ConnectionCounts, Counts, Ledger

KERAS_SPIKING = ("loihi", "spinnaker", "spinnaker2", "cpu", "gpu", "arm")
"""Devices of KerasSpiking 0.3.0, each with a profile ``kerasspiking-...``."""

PAPERS = "cmos45-fp32"
"""Profile with the prices of most papers: fp32 add, and multiply and add, in 45 nm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """One way to count the run, means per inference; None where the convention has no such count.

    A count need not be whole: some conventions multiply by a mean rate.
    """

    id: str
    name: str
    accumulates: float | None
    """AC: additions of a weight."""
    multiply_accumulates: float | None
    """MAC."""
    dense: float | None
    """Operations if nothing were zero."""
    neuron_updates: float | None
    joules: float | None
    """Where the convention has prices."""
    source: str
    differences: tuple[str, ...]
    """Sentences: what it does otherwise than the ledger, as far as this network shows it."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "differences": list(self.differences)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Layer:
    """One connection, with what its sources delivered at each step, summed over samples."""

    connection: Connection
    shape: Shape
    """Of its sources."""
    counts: ConnectionCounts
    elements: int
    positive: Counts
    negative: Counts
    graded: Counts
    magnitude: npt.NDArray[np.float64]
    reads_input: bool

    @property
    def is_layer(self) -> bool:
        """Whether a tool that counts convolutions and matrices sees it."""
        return not isinstance(self.connection.operator, Identity)

    @property
    def padded_macs(self) -> int:
        """Products of the layer after its pooling, those with the zero padding included."""
        pool, operator = self.connection.pool, self.connection.operator
        pooled = pool.output_shape(self.shape) if pool else self.shape
        positions = operator.output_shape(pooled)[1:] if isinstance(operator, Conv2d) else ()
        return int(operator.weight.size) * math.prod(positions)


def conventions(ledger: Ledger, network: Network, inputs: InputCounts) -> tuple[Convention, ...]:
    """The run under every convention, trispike's own first.

    Args:
        ledger: Of the run.
        network: That ran.
        inputs: Of the data that it ran on, by :func:`input_counts`.

    Raises:
        InvalidDataError: An empty ledger, or one of another network.
    """
    check_run(ledger, network)
    layers = tuple(_layers(ledger, network, inputs))
    return (
        _own(ledger, network),
        _neurobench(ledger, layers),
        _syops(ledger, layers),
        _papers(ledger, network, layers),
        *(_keras_spiking(device, ledger, network, layers) for device in KERAS_SPIKING),
    )


def sees_other_inputs(network: Network) -> bool:
    """Whether layers read averages or sums of spikes, which is not what a ledger counts."""
    return any(
        (c.pool is not None or len(c.sources) > 1) and not isinstance(c.operator, Identity)
        for c in network.all_connections
    )


def neurobench_before_folding(network: Network, data: npt.NDArray[Any]) -> Convention:
    """What NeuroBench counts where pooling and sums of spikes are steps of their own.

    So they are in the PyTorch module that a network comes from. This runs the network, step by
    step in plain NumPy: a few samples are enough to see how far the two counts are apart.

    Args:
        network: The network.
        data: Raw data of at least one sample; all are one batch.

    Raises:
        InvalidDataError: The data do not fit, or there are none.
    """
    if not len(data):
        raise InvalidDataError(
            "data", got="no samples", expected="at least one", fix="Give some data."
        )
    layers = {n: c for n, c in network.labelled() if not isinstance(c.operator, Identity)}
    shapes = {n: network.source_shape(c) for n, c in layers.items()}
    pooled = {n: c.pool.output_shape(shapes[n]) if c.pool else shapes[n] for n, c in layers.items()}
    bare = {n: replace(c, pool=None) for n, c in layers.items()}
    reach = {n: fan_out(c, pooled[n]) for n, c in bare.items()}
    dense = sum(synapse_count(c, pooled[n], include_zero_weights=True) for n, c in bare.items())
    ac = mac = 0
    encoded = network.input.encode(data, network.steps)
    learner = Learner(network)
    parts = np.split(encoded, len(data)) if plastic(network) else [encoded]
    for step in (s for part in parts for s in time_steps(network, part, learner=learner)):
        for label, c in layers.items():
            seen = np.sum([arrived.astype(np.float64) for arrived in step.arrived[label]], axis=0)
            seen = c.pool.apply(seen) / c.pool.area if c.pool else seen
            count = int((np.count_nonzero(seen, axis=0) * reach[label]).sum())
            if np.isin(seen, (-1, 0, 1)).all():
                ac += count
            else:
                mac += count
    return Convention(
        id="neurobench-before-folding",
        name=f"NeuroBench, pooling first ({len(data)} samples)",
        accumulates=ac / len(data),
        multiply_accumulates=mac / len(data),
        dense=float(dense * network.steps),
        neuron_updates=None,
        joules=None,
        source="NeuroBench 2.3.0, SynapticOperations, on modules that pool and add by themselves",
        differences=(
            (
                "Average pooling and sums of spikes come before the layer, and are free; folded "
                "into it, as deployed, every spike is an addition for each of its synapses."
            ),
        ),
    )


def check_run(ledger: Ledger, network: Network) -> None:
    """Refuse a ledger without samples, or one of another network.

    Raises:
        InvalidDataError: It is such a ledger.
    """
    check_ledger(ledger, network)
    if not ledger.samples:
        raise InvalidDataError(
            "ledger", got="no samples", expected="at least one", fix="Run some data first."
        )


def _layers(ledger: Ledger, network: Network, inputs: InputCounts) -> Iterator[_Layer]:
    for label, c in network.labelled():
        shape = network.source_shape(c)
        rows = np.zeros((4, network.steps))
        for source in c.sources:
            if source == network.input.name:
                delivered = (inputs.positive, inputs.negative, inputs.graded, inputs.magnitude)
            else:
                p = ledger.populations[source]
                fired = p.spikes_positive + p.spikes_negative
                delivered = (p.spikes_positive, p.spikes_negative, 0 * fired, 1.0 * fired)
            emitted = np.stack([np.asarray(d, dtype=np.float64) for d in delivered])
            rows[:, c.delay :] += emitted[:, : max(0, network.steps - c.delay)]
        positive, negative, graded = rows[:3].astype(np.int64)
        yield _Layer(
            connection=c,
            shape=shape,
            counts=ledger.connections[label],
            elements=math.prod(shape),
            positive=positive,
            negative=negative,
            graded=graded,
            magnitude=rows[3],
            reads_input=network.input.name in c.sources,
        )


def _own(ledger: Ledger, network: Network) -> Convention:
    each = ledger.samples
    dense = sum(int(c.dense_operations.sum()) for c in ledger.connections.values())
    updates = sum(int(p.updates.sum()) for p in ledger.populations.values())
    return Convention(
        id="trispike",
        name="trispike",
        accumulates=ledger.synaptic_operations / each,
        multiply_accumulates=ledger.macs / each,
        dense=dense / each,
        neuron_updates=updates / each,
        joules=None,
        source="the ledger",
        differences=(),
    )


def _neurobench(ledger: Ledger, layers: tuple[_Layer, ...]) -> Convention:
    seen = [layer for layer in layers if layer.is_layer]
    ac = mac = dense = 0
    for layer in seen:
        events = layer.counts.synaptic_operations + layer.counts.macs
        whole = layer.graded > 0
        mac += int(events[whole].sum())
        ac += int(events[~whole].sum())
        dense += layer.counts.dense_macs * ledger.steps
    differences = [
        (
            "Layers as here: zero weights and padding are no operations, and the sign of a spike "
            "does not matter."
        ),
        (
            "A call whose input holds anything outside {-1, 0, 1} is a MAC as a whole; here every "
            "payload counts for itself."
        ),
        (
            "Dense has zero weights in it, and every time step; here a synapse with weight zero is "
            "none."
        ),
    ]
    differences += _unseen(ledger, layers)
    if any(layer.connection.pool for layer in seen):
        differences.append(
            "Before a layer with average pooling it would see averages, nearly all of them MACs "
            "and fewer; the spikes behind them are counted here, as deployed."
        )
    if any(len(layer.connection.sources) > 1 for layer in seen):
        differences.append(
            "Where spikes are added before a layer it would see the sums, MACs from 2 on; the "
            "spikes of each source are counted here."
        )
    return Convention(
        id="neurobench",
        name="NeuroBench",
        accumulates=ac / ledger.samples,
        multiply_accumulates=mac / ledger.samples,
        dense=float(dense),
        neuron_updates=None,
        joules=None,
        source="NeuroBench 2.3.0, SynapticOperations (Effective_ACs, Effective_MACs, Dense)",
        differences=tuple(differences),
    )


def _syops(ledger: Ledger, layers: tuple[_Layer, ...]) -> Convention:
    each = ledger.samples
    total = mac = 0
    ac = 0.0
    for layer in layers:
        sizes = [layer.padded_macs] if layer.is_layer else []
        pool, shape = layer.connection.pool, layer.shape
        stages = []
        for stage in pool.stages if pool else ():
            stages.append(math.prod(shape))
            shape = stage.output_shape(shape)
        # Only what reads the spikes themselves can be binary; averages and sums are not.
        first, later = (stages + sizes)[:1], (stages + sizes)[1:]
        single = len(layer.connection.sources) == 1
        silent = (layer.positive + layer.negative + layer.graded) == 0
        binary = (layer.negative + layer.graded == 0) if single else silent
        total += sum(first + later) * ledger.steps
        rate = layer.positive[binary].sum() / (layer.elements * each)
        ac += sum(first) * float(rate)
        mac += sum(first) * int((~binary).sum()) + sum(later) * int((~silent).sum())
    differences = [
        (
            "An input with a -1 in it is not binary, and the layer is then dense: every product "
            "is a MAC, those with zeros and with the padding included. A ternary network has no "
            "advantage at all."
        ),
        "The analog image is a dense MAC layer at every time step.",
        (
            "A binary layer counts its dense operations times the mean rate, so that borders and "
            "zero weights cost as much as the rest."
        ),
        (
            "Biases, batch norms and neurons are left out here, as in the ledger; syops adds those "
            "of the modules that it knows."
        ),
    ]
    if any(layer.connection.pool for layer in layers):
        differences.append(
            "Pooling is counted, one operation per element before it, and so is the layer after "
            "it, on averages: MACs."
        )
    if any(len(layer.connection.sources) > 1 for layer in layers):
        differences.append("Sums of spikes before a layer are taken to be other than 0 and 1.")
    differences += _unseen(ledger, layers)
    return Convention(
        id="syops",
        name="syops",
        accumulates=ac,
        multiply_accumulates=float(mac),
        dense=float(total),
        neuron_updates=None,
        joules=None,
        source="syops 0.0.5",
        differences=tuple(differences),
    )


def _papers(ledger: Ledger, network: Network, layers: tuple[_Layer, ...]) -> Convention:
    each, prices = ledger.samples, load_profile(PAPERS).coefficients
    still = not network.input.has_frames
    ac = mac = dense = 0.0
    for layer in layers:
        if not layer.is_layer:
            continue
        flops = layer.padded_macs
        dense += flops
        analog = layer.reads_input and (network.input.encoding != "spikes" or layer.graded.any())
        if analog:
            mac += flops * (1 if still else ledger.steps)
        else:
            spikes = int((layer.positive + layer.negative).sum())
            ac += flops * spikes / (layer.elements * each)
    differences = [
        (
            "AC = dense operations x mean firing rate x time steps: borders and zero weights cost "
            "as much as the rest; here each spike's own synapses are counted."
        ),
    ]
    if network.input.encoding == "direct" and mac:
        differences.append(
            f"The layer that reads the image counts once; deployed, it reads it at each of the "
            f"{ledger.steps} time steps."
        )
    if mac:
        differences.append("That layer is dense: zeros of the input and the padding are MACs.")
    if any(layer.connection.pool for layer in layers):
        differences.append("Average pooling before a layer is free, and the layer reads its means.")
    differences += [
        "fp32 arithmetic for a network that computes in integers where it is deployed.",
        "No memory, no neuron updates, no routing.",
        *_unseen(ledger, layers),
    ]
    return Convention(
        id="papers-0.9-4.6",
        name="0.9/4.6 pJ papers",
        accumulates=ac,
        multiply_accumulates=mac,
        dense=dense,
        neuron_updates=None,
        joules=(prices["synaptic_operation"].picojoules * ac + prices["mac"].picojoules * mac)
        * 1e-12,
        source="Horowitz, ISSCC 2014, 45 nm fp32: add 0.9 pJ, multiply and add 4.6 pJ",
        differences=tuple(differences),
    )


def _keras_spiking(
    device: str, ledger: Ledger, network: Network, layers: tuple[_Layer, ...]
) -> Convention:
    each = ledger.samples
    dense = float(sum(layer.padded_macs for layer in layers if layer.is_layer))
    neurons = sum(p.size for p in network.populations.values())
    profile = load_profile(f"kerasspiking-{device}")
    on_dense = profile.prices == "dense"
    events = ("mac", "activation") if on_dense else ("synaptic_operation", "neuron_update_active")
    per_synop, per_neuron = (profile.coefficients[event].picojoules * 1e-12 for event in events)
    if on_dense:
        synops, updates = dense, float(neurons)
        differences = [
            "The dense network of the same topology, once: neither spikes nor time steps matter.",
            "One price for a synaptic operation and a neuron update.",
        ]
    else:
        synops = sum(
            layer.padded_macs * float(layer.magnitude.sum()) / (layer.elements * each)
            for layer in layers
            if layer.is_layer
        )
        updates = float(neurons * ledger.steps)
        differences = [
            (
                "Synaptic operations = connections x mean input x time steps: borders and zero "
                "weights cost as much as the rest."
            ),
            "The mean magnitude of an analog input is taken for a rate of events.",
            "Every neuron update costs the same, with and without input.",
        ]
        if device == "loihi":
            differences.append(
                "27.1 pJ is written as 23.6 + 3.5; Loihi's published synaptic operation is 23.6 pJ."
            )
        if any(layer.connection.pool for layer in layers):
            differences.append(
                "Behind average pooling the rate is that of the spikes before it: signs that "
                "cancel in a window are not seen."
            )
    return Convention(
        id=f"keras-spiking-{device}",
        name=f"KerasSpiking, {device}",
        accumulates=synops,
        multiply_accumulates=None,
        dense=dense,
        neuron_updates=updates,
        joules=synops * per_synop + updates * per_neuron,
        source="KerasSpiking 0.3.0, ModelEnergy",
        differences=(*differences, *_unseen(ledger, layers)),
    )


def _unseen(ledger: Ledger, layers: tuple[_Layer, ...]) -> list[str]:
    """What is said of shortcuts, if there are any."""
    hidden = [layer.counts for layer in layers if not layer.is_layer]
    if not hidden:
        return []
    count = sum(int((c.synaptic_operations + c.macs).sum()) for c in hidden) / ledger.samples
    return [f"A shortcut is no layer: {count:,.0f} of our operations are not in it."]

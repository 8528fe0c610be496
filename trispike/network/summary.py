"""A network in words and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from trispike.network.connection import Connection, Conv2d, Dense, Shape
from trispike.network.network import Network
from trispike.network.neuron import FixedPointNeuron, Neuron
from trispike.network.rules import rule_facts
from trispike.network.storage import digest
from trispike.network.synapses import synapse_count


def describe(network: Network) -> dict[str, Any]:
    """All figures of :func:`summary`, as JSON values."""
    populations = [
        {
            "name": name,
            "shape": list(network.populations[name].shape),
            "neurons": network.populations[name].size,
            "depth": network.depth[name],
            "neuron": neuron_kind(network.populations[name].neuron),
        }
        for name in network.order
    ]
    connections = [
        {
            "label": label,
            "operator": _operator(connection),
            "pool": _pool(connection),
            "delay": connection.delay,
            "exponent": connection.exponent,
            "bits": connection.bits if connection.is_integer else None,
            "weights": int(connection.operator.weight.size),
            "synapses": synapse_count(connection, network.source_shape(connection)),
            "plasticity": None
            if connection.plasticity is None
            else rule_facts(connection.plasticity),
        }
        for label, connection in network.labelled()
    ]
    return {
        "kind": network.kind,
        "steps": network.steps,
        "input": {"shape": list(network.input.shape), "encoding": network.input.encoding},
        "classes": network.readout.classes,
        "depth": network.depth[network.readout.name],
        "neurons": sum(p["neurons"] for p in populations),
        "weights": sum(c["weights"] for c in connections),
        "synapses": sum(c["synapses"] for c in connections),
        "populations": populations,
        "connections": connections,
        "provenance": dict(network.provenance),
        "network_sha256": digest(network),
    }


def summary(network: Network) -> str:
    """A table of populations and one of connections, as plain text."""
    facts = describe(network)
    head = (
        f"{facts['kind']} network, {facts['steps']} time steps, input "
        f"{_shape(network.input.shape)} ({network.input.encoding}), {facts['classes']} classes\n"
        f"{facts['neurons']:,} neurons, {facts['weights']:,} weights, "
        f"{facts['synapses']:,} synapses, depth {facts['depth']}"
    )
    populations = [("population", "shape", "depth", "neuron")] + [
        (p["name"], _shape(p["shape"]), str(p["depth"]), p["neuron"]) for p in facts["populations"]
    ]
    connections = [("connection", "operator", "pool", "weights", "synapses")] + [
        (
            c["label"],
            c["operator"]
            + (f" << {c['exponent']}" if c["exponent"] else "")
            + (", plastic" if c["plasticity"] else ""),
            c["pool"] or "",
            f"{c['weights']:,}" + (f" x {c['bits']} bit" if c["bits"] else ""),
            f"{c['synapses']:,}",
        )
        for c in facts["connections"]
    ]
    return "\n\n".join([head, _table(populations), _table(connections)])


def neuron_kind(neuron: Neuron | FixedPointNeuron) -> str:
    """The settings that tell a neuron from others, in a few words."""
    if isinstance(neuron, FixedPointNeuron):
        never = 1 << (neuron.state_bits - 1)
        binary = bool((neuron.th_neg >= never).all())
        has_floor = bool((neuron.floor > -(never - 1)).any())
    else:
        binary = bool(np.isinf(neuron.th_neg).all())
        has_floor = bool(np.isfinite(neuron.floor).any())
    words = ["binary" if binary else "ternary"]
    if (neuron.a_pos != 0).any() or (neuron.a_neg != 0).any():
        words.append("complemented")
    if (neuron.k != 0).any():
        words.append("current-based")
    words.append({"zero": "hard reset", "subtract": "soft reset", "none": "no reset"}[neuron.reset])
    optional = (
        ("strict", neuron.strict),
        ("fires once", neuron.fire_once),
        (_window(neuron), neuron.fire_from > 0 or neuron.fire_until is not None),
        ("gain per step", bool(neuron.gains)),
        ("initial potential", bool((neuron.v_init != 0).any())),
        ("floor", has_floor),
    )
    return ", ".join(words + [word for word, present in optional if present])


def _window(neuron: Neuron | FixedPointNeuron) -> str:
    if neuron.fire_until is None:
        return f"fires from step {neuron.fire_from}"
    return f"fires at steps {neuron.fire_from} to {neuron.fire_until - 1}"


def _operator(connection: Connection) -> str:
    operator = connection.operator
    if isinstance(operator, Conv2d):
        outputs, inputs, rows, columns = operator.weight.shape
        words = f"conv {rows}x{columns} {inputs * operator.groups}->{outputs}"
        for name, value, default in (
            ("stride", operator.stride, (1, 1)),
            ("padding", operator.padding, (0, 0)),
            ("dilation", operator.dilation, (1, 1)),
        ):
            if value != default:
                words += f" {name} {_shape(value) if value[0] != value[1] else value[0]}"
        return words + (f" groups {operator.groups}" if operator.groups > 1 else "")
    if isinstance(operator, Dense):
        return f"dense {operator.weight.shape[1]}->{operator.weight.shape[0]}"
    return "identity"


def _pool(connection: Connection) -> str | None:
    stages = connection.pool_stages
    return ", ".join(f"sum {_shape(s.kernel)}/{_shape(s.stride)}" for s in stages) or None


def _shape(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{w}}" for cell, w in zip(r, widths, strict=True)) for r in rows]
    return "\n".join(line.rstrip() for line in lines)

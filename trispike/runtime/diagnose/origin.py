"""Are a float and an integer network one network before and after quantization?"""

from __future__ import annotations

from typing import Any

import numpy as np

from trispike.errors import InvalidDataError, InvalidNetworkError, InvalidSettingError
from trispike.network import FloatNetwork, IntegerNetwork, Network
from trispike.runtime.engine import Array

MOST_DIFFERENCES = 4
"""What of two networks differs is listed up to so many entries."""

_SAME_NEURONS = ("reset", "strict", "fire_once", "fire_from", "fire_until")


def checked_pair(source: Network, integer: Network) -> tuple[FloatNetwork, IntegerNetwork]:
    """The two networks, if one can have been made from the other.

    Weights, thresholds and retention factors may differ in any way: they are what is diagnosed.

    Args:
        source: The float network.
        integer: The integer network.

    Raises:
        InvalidSettingError: They are given the other way round, or both are of one kind.
        InvalidNetworkError: Populations, shapes, connections, steps, input, readout or the
            checkpoint are not the same.
    """
    if not isinstance(source, FloatNetwork) or not isinstance(integer, IntegerNetwork):
        swapped = isinstance(source, IntegerNetwork) and isinstance(integer, FloatNetwork)
        raise InvalidSettingError(
            "networks",
            got=f"{_kind(source)} first, then {_kind(integer)}",
            expected="the float network first, then the integer network that was made from it",
            fix="Swap them." if swapped else "Name one of each kind.",
        )
    found = _differences(source, integer)
    if found:
        more = len(found) - MOST_DIFFERENCES
        shown = found[:MOST_DIFFERENCES] + ([f"and {more} more"] if more > 0 else [])
        raise InvalidNetworkError(
            "networks",
            got="two that are not of one origin: " + "; ".join(shown),
            expected="a float network and what it was quantized to",
            fix="Quantize this float network (trispike quantize), or name the one that the "
            "integer network was made from.",
        )
    return source, integer


def checked_data(
    source: Network, data: Array, labels: Array | None
) -> tuple[Array, np.ndarray[Any, np.dtype[np.int64]] | None]:
    """Data and labels, if a network can run on them.

    Raises:
        InvalidDataError: They do not fit the network, or there are none.
    """
    data = np.asarray(data)
    source.input.check(data, source.steps)
    if not len(data):
        raise InvalidDataError(
            "data", got="no samples", expected="at least one", fix="Give some data."
        )
    return data, None if labels is None else source.readout.checked_labels(labels, len(data))


def _kind(network: Any) -> str:
    if isinstance(network, Network):
        return f"{'an' if network.kind == 'integer' else 'a'} {network.kind} network"
    return f"a {type(network).__name__}"


def _differences(source: FloatNetwork, integer: IntegerNetwork) -> list[str]:
    """What no quantization changes, and is not the same; in words."""
    found = [
        f"{what} {ours} and {theirs}"
        for what, ours, theirs in (
            ("time steps", source.steps, integer.steps),
            ("input shapes", source.input.shape, integer.input.shape),
            ("input encodings", source.input.encoding, integer.input.encoding),
            ("names of the input", source.input.name, integer.input.name),
            ("names of the readout", source.readout.name, integer.readout.name),
            ("classes", source.readout.classes, integer.readout.classes),
        )
        if ours != theirs
    ]
    for name in ("mean", "std"):
        ours, theirs = (np.broadcast_arrays(getattr(n.input, name), np.zeros(n.input.shape))[0]
                        for n in (source, integer))  # fmt: skip
        if ours.shape == theirs.shape and not np.allclose(ours, theirs, rtol=1e-6, atol=0):
            found.append(f"another {name} of the input")
    found += _differing_populations(source, integer)
    if not found and _wiring(source) != _wiring(integer):
        odd = sorted(_wiring(source) ^ _wiring(integer))
        found.append("connections: " + ", ".join(f"{a}->{b}" for a, b, *_ in odd[:2]))
    ours, theirs = _checkpoint(source), _checkpoint(integer)
    if None not in (ours, theirs) and ours != theirs:
        found.append(f"checkpoints {str(ours)[:12]}... and {str(theirs)[:12]}...")
    return found


def _differing_populations(source: FloatNetwork, integer: IntegerNetwork) -> list[str]:
    found = []
    for name in (*source.populations, *(n for n in integer.populations)):
        ours, theirs = source.populations.get(name), integer.populations.get(name)
        if ours is None or theirs is None:
            where = "float" if theirs is None else "integer"
            found.append(f"population {name!r} is in the {where} network only")
        elif ours.shape != theirs.shape:
            found.append(f"population {name!r} of shapes {ours.shape} and {theirs.shape}")
        else:
            found += [
                f"population {name!r}, {field} {getattr(ours.neuron, field)} and "
                f"{getattr(theirs.neuron, field)}"
                for field in _SAME_NEURONS
                if getattr(ours.neuron, field) != getattr(theirs.neuron, field)
            ]
    return list(dict.fromkeys(found))


def _wiring(network: Network) -> set[tuple[str, str, int, str]]:
    """Who reads whom, with which delay and which operator; connections may be split by source."""
    return {
        (source, c.target, c.delay, type(c.operator).__name__)
        for c in network.all_connections
        for source in c.sources
    }


def _checkpoint(network: Network) -> Any:
    recorded = network.provenance.get("checkpoint")
    return recorded.get("sha256") if isinstance(recorded, dict) else None

"""What a spike meets: synapses of every source element, looked up once per network."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from trispike.network import Network, dense_macs, fan_out

Counts: TypeAlias = npt.NDArray[np.int64]


class Geometry(NamedTuple):
    """Of one connection."""

    fan_out: Counts
    """Synapses of every source element, (*source shape)."""
    zeros: Counts
    """Pairs with a weight of zero of every source element, (*source shape)."""
    dense_macs: int
    """Multiply-accumulates of the same layer in a dense network, per inference."""


_GEOMETRIES: WeakKeyDictionary[Network, dict[str, Geometry]] = WeakKeyDictionary()


def geometries(network: Network) -> dict[str, Geometry]:
    """By connection label, computed once per network."""
    if network not in _GEOMETRIES:
        found = {}
        for label, connection in network.labelled():
            shape = network.source_shape(connection)
            reach = fan_out(connection, shape)
            pairs = fan_out(connection, shape, include_zero_weights=True)
            found[label] = Geometry(reach, pairs - reach, dense_macs(connection, shape))
        _GEOMETRIES[network] = found
    return _GEOMETRIES[network]

"""Placements in files: what several commands do with them."""

from __future__ import annotations

from pathlib import Path

from trispike.cli.console import progress_bar
from trispike.errors import UnsupportedError
from trispike.network import IntegerNetwork, Network
from trispike.runtime.activity import traffic_of
from trispike.runtime.data import Data
from trispike.runtime.engine import Engine
from trispike.targets.loihi import Placement, Traffic, load_placement


def load_placed(path: Path, network: Network) -> Placement:
    """The placement of a network.

    Raises:
        UnsupportedError: A float network.
        FileFormatError: No placement, or one of another network.
    """
    if not isinstance(network, IntegerNetwork):
        raise UnsupportedError(
            "--placement",
            got="a float network",
            expected="the integer network that was placed",
            fix="Quantize it: trispike quantize.",
        )
    return load_placement(path, network)


def shown_traffic(engine: Engine, placed: Placement, given: Data) -> Traffic:
    """Messages and hops, from a run that records which neuron fires, behind a progress bar."""
    with progress_bar("counting messages", len(given.x)) as progress:
        return traffic_of(engine, placed, given.x, progress)

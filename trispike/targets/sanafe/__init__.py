"""Placed networks as SANA-FE replays them, and the same energy from our own counts.

SANA-FE (GPL-3) is a simulator of neuromorphic architectures. It is no part of trispike: the files
are written without it, and where it is installed it runs in a process of its own.
"""

from trispike.targets.sanafe.activity import Activity, count
from trispike.targets.sanafe.comparison import Comparison, Row, compare
from trispike.targets.sanafe.cost import Cost, Term, busiest_core, price
from trispike.targets.sanafe.description import ARCHITECTURE, NETWORK, write_description
from trispike.targets.sanafe.places import cores_of
from trispike.targets.sanafe.prices import Prices, load_prices
from trispike.targets.sanafe.replaying import Replay, replay
from trispike.targets.sanafe.simulator import Simulation, sanafe_version, simulate

__all__ = [
    "ARCHITECTURE",
    "NETWORK",
    "Activity",
    "Comparison",
    "Cost",
    "Prices",
    "Replay",
    "Row",
    "Simulation",
    "Term",
    "busiest_core",
    "compare",
    "cores_of",
    "count",
    "load_prices",
    "price",
    "replay",
    "sanafe_version",
    "simulate",
    "write_description",
]

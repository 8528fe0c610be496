"""Loihi: what the chips hold, whether a network fits, and where each part of it goes.

``hardware`` reads chips and boards, ``demand`` says what a network asks of a core, ``tiles`` and
``placement`` divide it among cores, ``check`` lists what the chip cannot do, ``traffic`` counts
messages and hops, ``files`` keeps a placement, ``picture`` draws it.
"""

from trispike.targets.loihi.check import Finding, check_network
from trispike.targets.loihi.files import load_placement, save_placement
from trispike.targets.loihi.hardware import Board, Chip, load_board, load_chip
from trispike.targets.loihi.picture import draw_placement
from trispike.targets.loihi.placement import Core, Placement, place
from trispike.targets.loihi.tiles import Tile
from trispike.targets.loihi.traffic import Traffic, count_traffic
from trispike.targets.loihi.whatif import what_ifs

__all__ = [
    "Board",
    "Chip",
    "Core",
    "Finding",
    "Placement",
    "Tile",
    "Traffic",
    "check_network",
    "count_traffic",
    "draw_placement",
    "load_board",
    "load_chip",
    "load_placement",
    "place",
    "save_placement",
    "what_ifs",
]

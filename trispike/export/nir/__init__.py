"""NIR, the Neuromorphic Intermediate Representation: networks out, graphs in.

Needs the package nir (``pip install 'trispike[nir]'``), which is imported nowhere else.
"""

from trispike.export.nir.nodes import CTSN, CTSNInput, CTSNReadout, DilatedSumPool2d, Unflatten
from trispike.export.nir.own import from_own
from trispike.export.nir.registry import read, register
from trispike.export.nir.write import to_graph, write, write_graph

__all__ = [
    "CTSN",
    "CTSNInput",
    "CTSNReadout",
    "DilatedSumPool2d",
    "Unflatten",
    "from_own",
    "read",
    "register",
    "to_graph",
    "write",
    "write_graph",
]

"""NIR, the Neuromorphic Intermediate Representation: networks out, graphs in.

Needs the package nir (``pip install 'trispike[nir]'``), which is imported nowhere else. Graphs run
in PyTorch with :mod:`trispike.export.nir.interpreter`, which needs torch and nirtorch, too.
"""

from trispike.export.nir.conventions import Convention, conventions
from trispike.export.nir.importer import from_graph, read_network
from trispike.export.nir.nodes import CTSN, CTSNInput, CTSNReadout, DilatedSumPool2d, Unflatten
from trispike.export.nir.registry import read, register
from trispike.export.nir.standard import StandardExport, to_standard_graph, write_standard
from trispike.export.nir.write import to_graph, write, write_graph

__all__ = [
    "CTSN",
    "CTSNInput",
    "CTSNReadout",
    "Convention",
    "DilatedSumPool2d",
    "StandardExport",
    "Unflatten",
    "conventions",
    "from_graph",
    "read",
    "read_network",
    "register",
    "to_graph",
    "to_standard_graph",
    "write",
    "write_graph",
    "write_standard",
]

"""From a trained module to a float network, and from networks to exchange formats."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

# The exchange formats, in the packages below this one, work without torch; these names do not.
if TYPE_CHECKING or find_spec("torch"):
    from trispike.export.levels import Activation, has_levels, register_activation, trace_levels
    from trispike.export.neurons import AdaptedNeuron, Feedback, register_neuron
    from trispike.export.proof import Mismatch, Proof, prove
    from trispike.export.takes import Takes
    from trispike.export.tracing import Traced, trace

__all__ = [
    "Activation",
    "AdaptedNeuron",
    "Feedback",
    "Mismatch",
    "Proof",
    "Takes",
    "Traced",
    "has_levels",
    "prove",
    "register_activation",
    "register_neuron",
    "trace",
    "trace_levels",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import trispike.nn  # noqa: F401, PLC0415 - says which command installs a missing PyTorch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

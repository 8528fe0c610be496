"""Exact constructions: does an engine compute what arithmetic says that it must?

``trispike verify`` compares engines with each other. Here no engine is trusted: every construction
is a small network whose spikes, states and logits follow in closed form.
"""

from trispike.runtime.conformance.constructions import CONSTRUCTIONS
from trispike.runtime.conformance.parts import Construction, Exact
from trispike.runtime.conformance.suite import (
    Conformance,
    Outcome,
    chosen,
    conformance,
    engine_builder,
)

__all__ = [
    "CONSTRUCTIONS",
    "Conformance",
    "Construction",
    "Exact",
    "Outcome",
    "chosen",
    "conformance",
    "engine_builder",
]
